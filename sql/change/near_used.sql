-- A row is one image, concerned or with a thumbnail near that of one at hand, and a split that faultless pairs want it for: concerned
-- ones as just judged, others as before.
-- reads: used_images (of the concerned images), used_before, concerned_images
-- params: none
select
    image_id,
    split
from used_images
union all
select
    used_before.image_id,
    used_before.split
from used_before
left anti join concerned_images on used_before.image_id = concerned_images.image_id
