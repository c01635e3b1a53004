-- A row is one image of a split that is held out, as the index of near-identical images (near_test, near_validation) wants it.
-- reads: held_out_images, images
-- params: $split
select
    cast(images.dhash as bigint) as dhash,
    images.thumb as thumb
from held_out_images
inner join images on held_out_images.image_id = images.image_id
where images.dhash is not null and held_out_images.split = $split
