-- A row is one image of the test split, as the index of near-identical images (near_test) wants it.
-- reads: used_images, images
-- params: none
with test as (
    select distinct image_id
    from used_images
    where split = 'test'
)

select
    cast(images.dhash as bigint) as dhash,
    images.thumb as thumb
from images
inner join test on images.image_id = test.image_id
where images.dhash is not null
