-- A row is one image of the train split that the test split has too, to the byte or nearly (near_test; see
-- pipeline/image/src/near.rs). near_test_thumb says of nearly all other images, without their looks, that they are not near.
-- reads: used_images, test_images, images
-- params: none
with near as (
    select image_id
    from images
    where near_test_thumb(thumb) and near_test(thumb, look)
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
