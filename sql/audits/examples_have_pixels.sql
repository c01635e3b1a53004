-- A row is one example of a split whose image is missing or has no pixels; found under keys, as answers are.
-- reads: examples, images
-- params: none
with sides as (
    select
        id_key(image_id) as image_key,
        1 as has_pixels,
        0 as is_used
    from images
    where reject_reason is null
    union all
    select
        id_key(coalesce(image_id, '')) as image_key,
        0 as has_pixels,
        1 as is_used
    from examples
    where split is not null
),

wrong as (
    select image_key
    from sides
    group by image_key
    having sum(is_used) > 0 and sum(has_pixels) = 0
)

select
    examples.example_id as example_id,
    examples.image_id as image_id
from wrong
inner join examples on wrong.image_key = id_key(coalesce(examples.image_id, ''))
where examples.split is not null
