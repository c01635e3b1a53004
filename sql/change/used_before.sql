-- A row is one example's image, whose thumbnail is near that of one at hand, and the split that its pair, which is without fault, wants
-- it for, as it stands; an image may come several times.
-- reads: examples, near_images
-- params: none
select
    examples.image_id as image_id,
    coalesce(examples.split, 'train') as split
from examples
left semi join near_images on examples.image_id = near_images.image_id
where examples.split is not null or examples.reject_reason = 'leak'
