-- A row is one example in a split or left out as a leak, whose image's thumbnail is near that of one at hand; the split of a leak is null.
-- reads: examples, near_images
-- params: none
select
    examples.example_id as example_id,
    examples.image_id as image_id,
    examples.split as split,
    examples.text as text
from examples
left semi join near_images on examples.image_id = near_images.image_id
where examples.split is not null or examples.reject_reason = 'leak'
