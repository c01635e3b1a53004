-- A row is one image of the train split, as near-identical ones are grouped; in the order of their ids, so that a group has the name of
-- the first.
-- reads: used_images, leaks, images
-- params: none
with wanted as (
    select distinct used_images.image_id
    from used_images
    left anti join leaks on used_images.image_id = leaks.image_id
    where used_images.split = 'train'
),

found as (
    select
        images.image_id,
        images.thumb,
        images.look
    from images
    left semi join wanted on images.image_id = wanted.image_id
    where images.thumb is not null
)

select
    cast(image_id as varchar) as image_id,
    thumb,
    look
from found
order by image_id
