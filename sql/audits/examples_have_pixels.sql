-- A row is one example of a split whose image is missing or has no pixels.
-- reads: examples, images
-- params: none
select
    examples.example_id as example_id,
    examples.image_id as image_id
from examples
left join images on examples.image_id = images.image_id
where examples.split is not null and (images.image_id is null or images.reject_reason is not null)
