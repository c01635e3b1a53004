-- A row is one image and a split that is held out, test or validation, for which faultless pairs want it.
-- reads: used_images
-- params: none
select distinct
    cast(image_id as varchar) as image_id,
    cast(split as varchar) as split
from used_images
where split <> 'train'
