-- A row is one of some images with how much it differs from another, one laid on the other; those that clearly differ are left out.
-- reads: images
-- params: $image_id, $others (a list)
with here as (
    select
        thumb,
        look
    from images
    where image_id = $image_id and thumb is not null
),

compared as (
    select
        images.image_id as image_id,
        near_difference(images.thumb, images.look, here.thumb, here.look) as difference
    from images
    cross join here
    where array_has($others, images.image_id) and images.thumb is not null
)

select
    cast(image_id as varchar) as image_id,
    cast(difference as double) as difference
from compared
where difference is not null
order by difference, image_id
