-- A row is one image of the train split, not itself concerned, that is near an image which came into the test split or left it.
-- reads: images, used_before, concerned_images
-- params: none
with near as (
    select
        image_id,
        dhash,
        thumb
    from images
    where near_change(dhash, thumb)
)

select
    near.image_id as image_id,
    near.dhash as dhash,
    near.thumb as thumb
from near
left semi join used_before on near.image_id = used_before.image_id and used_before.split = 'train'
left anti join concerned_images on near.image_id = concerned_images.image_id
