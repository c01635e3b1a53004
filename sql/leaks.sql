-- A row is one image of the train split that the test split has too, to the byte or nearly. Two images are near if their
-- difference hashes differ in at most near_bits of 64 bits and their thumbnails by at most near_levels of 255 on average
-- (near_test; see pipeline/etl/src/curate/near.rs).
-- reads: used_images, images
-- params: none
with train as (
    select image_id
    from used_images
    where split = 'train'
),

identical as (
    select train.image_id
    from train
    inner join used_images on train.image_id = used_images.image_id
    where used_images.split = 'test'
),

near as (
    select images.image_id
    from images
    inner join train on images.image_id = train.image_id
    where near_test(images.dhash, images.thumb)
)

select cast(image_id as varchar) as image_id from identical
union
select cast(image_id as varchar) as image_id from near
