-- A row is one model's loss on one pair of an image, and by how much the image makes the caption likelier, the newest first.
-- reads: scores
-- params: $image_id
select
    cast(example_id as varchar) as example_id,
    cast(text as varchar) as text,
    cast(loss as real) as loss,
    cast(loss_without_image as real) as loss_without_image,
    cast(loss_without_image - loss as real) as gain,
    cast(model as varchar) as model,
    cast(scored_at as timestamp) as scored_at
from scores
where image_id = $image_id
order by scored_at desc, example_id, model_id, settings
