-- A row is one image of the train split, as near-identical ones are grouped; in the order of their ids, so that a group has the name of
-- the first.
-- reads: used_images, leaks, images
-- params: none
with wanted as (
    select distinct used_images.image_id
    from used_images
    left anti join leaks on used_images.image_id = leaks.image_id
    where used_images.split = 'train'
)

select
    cast(images.image_id as varchar) as image_id,
    images.thumb as thumb,
    images.look as look
from images
left semi join wanted on images.image_id = wanted.image_id
where images.thumb is not null
order by images.image_id
