-- A row is one image of the train or the validation split that a split held out before it has too, to the byte or nearly, and the
-- first of those: test, then validation (near_test, near_validation; see pipeline/image/src/near.rs). near_test_thumb and
-- near_validation_thumb say of nearly all other images, without their looks, that they are not near.
-- reads: used_images, held_out_images, images
-- params: none
with near as (
    select
        image_id,
        case
            when near_test(thumb, look) then 'test'
            when near_validation(thumb, look) then 'validation'
        end as split
    from images
    where near_test_thumb(thumb) or near_validation_thumb(thumb)
),

held_out as (
    select
        image_id,
        split
    from held_out_images
    union all
    select
        image_id,
        split
    from near
    where split is not null
),

-- By their names test is before validation.
first_of as (
    select
        image_id,
        min(split) as split
    from held_out
    group by image_id
)

select distinct
    cast(first_of.image_id as varchar) as image_id,
    cast(first_of.split as varchar) as split
from first_of
inner join used_images on first_of.image_id = used_images.image_id
where used_images.split = 'train' or (used_images.split = 'validation' and first_of.split = 'test')
