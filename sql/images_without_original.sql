-- A row is one image whose picture file is not in originals (any more): its pixels are as good as before, and no pair has it.
-- reads: images, originals
-- params: none
select images.image_id as image_id
from images
left anti join originals on images.image_id = originals.image_id
