-- A row is one concerned image, as far as the rules read images.
-- reads: images, concerned_images
-- params: none
select
    images.image_id as image_id,
    images.reject_reason as reject_reason,
    images.codec as codec,
    images.thumb as thumb,
    images.look as look
from images
left semi join concerned_images on images.image_id = concerned_images.image_id
