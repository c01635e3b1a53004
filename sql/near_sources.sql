-- A row is one image of a split that is held out, as the index of near-identical images (near_test, near_validation) wants it.
-- reads: held_out_images, images
-- params: $split
select
    images.thumb as thumb,
    images.look as look
from held_out_images
inner join images on held_out_images.image_id = images.image_id
where images.thumb is not null and held_out_images.split = $split
