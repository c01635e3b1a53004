-- A row is one image of the test split, as the index of near-identical images (near_test) wants it.
-- reads: test_images, images
-- params: none
select
    images.thumb as thumb,
    images.look as look
from test_images
inner join images on test_images.image_id = images.image_id
where images.thumb is not null
