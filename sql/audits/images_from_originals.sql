-- A row is one image whose bytes are not in originals.
-- reads: images, originals
-- params: none
select images.image_id as image_id
from images
left anti join originals on images.image_id = originals.image_id
