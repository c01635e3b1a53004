-- A row is one image with more than one row in images.
-- reads: images
-- params: none
select
    image_id as image_id,
    count(*) as n_rows
from images
group by image_id
having count(*) > 1
