-- A row is one image of the train or the validation split that a split held out before it has too, to the byte or nearly, and the
-- first of those: test, then validation. Two images are near if their difference hashes differ in at most near_bits of 64 bits and
-- their thumbnails by at most near_levels of 255 on average (near_test, near_validation; see pipeline/etl/src/curate/near.rs).
-- reads: used_images, held_out_images, images
-- params: none
with near as (
    select
        image_id,
        case
            when near_test(dhash, thumb) then 'test'
            when near_validation(dhash, thumb) then 'validation'
        end as split
    from images
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
