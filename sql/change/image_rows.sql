-- A row is one concerned image, as far as the rules read images: all new ones are.
-- reads: images, new_images, concerned_images
-- params: none
with others as (
    select concerned_images.image_id
    from concerned_images
    left anti join new_images on concerned_images.image_id = new_images.image_id
)

select
    image_id as image_id,
    reject_reason as reject_reason,
    codec as codec,
    dhash as dhash,
    thumb as thumb
from new_images
union all
select
    images.image_id as image_id,
    images.reject_reason as reject_reason,
    images.codec as codec,
    images.dhash as dhash,
    images.thumb as thumb
from images
left semi join others on images.image_id = others.image_id
