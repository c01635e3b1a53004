-- A row is one image with the caption of the model, and its settings, that wrote last.
-- reads: captions
-- params: none
with newest as (
    select model_id, settings
    from captions
    order by captioned_at desc, model_id asc, settings asc
    limit 1
)

select
    cast(captions.image_id as varchar) as image_id,
    cast(captions.caption as varchar) as caption,
    cast(captions.model as varchar) as model
from captions
inner join newest on captions.model_id = newest.model_id and captions.settings = newest.settings
