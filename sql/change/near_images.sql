-- A row is one image whose hash is near that of one at hand; its thumbnail is still to be compared.
-- reads: images
-- params: none
select
    image_id,
    dhash,
    thumb
from images
where near_hash(dhash)
