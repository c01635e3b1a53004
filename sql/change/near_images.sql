-- A row is one image that may be near one at hand by its thumbnail; its look is still to be compared.
-- reads: images
-- params: none
select
    image_id,
    thumb,
    look
from images
where near_thumb(thumb)
