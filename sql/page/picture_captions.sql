-- A row is one caption that a model wrote for an image, the newest first.
-- reads: captions
-- params: $image_id
select
    cast(caption as varchar) as caption,
    cast(score as real) as score,
    cast(model as varchar) as model,
    cast(model_id as varchar) as model_id,
    cast(settings as varchar) as settings,
    cast(captioned_at as timestamp) as captioned_at
from captions
where image_id = $image_id
order by captioned_at desc, model_id, settings
