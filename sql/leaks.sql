-- A row is one image of the train split that the test split has too, to the byte or nearly. Two images are near if their
-- difference hashes differ in at most near_bits of 64 bits and their thumbnails by at most near_levels of 255 on average
-- (near_test; see pipeline/etl/src/curate/near.rs).
-- reads: used_images, test_images, images
-- params: none
with near as (
    select image_id
    from images
    where near_test(dhash, thumb)
),

in_test as (
    select image_id from test_images
    union
    select image_id from near
)

select distinct cast(in_test.image_id as varchar) as image_id
from in_test
inner join used_images on in_test.image_id = used_images.image_id
where used_images.split = 'train'
