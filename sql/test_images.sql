-- A row is one image that faultless pairs want for the test split.
-- reads: used_images
-- params: none
select distinct cast(image_id as varchar) as image_id
from used_images
where split = 'test'
