-- A row is one image with more than one row in images.
-- reads: images
-- params: none
with repeated as (
    select id_key(image_id) as image_key
    from images
    group by id_key(image_id)
    having count(*) > 1
)

select
    images.image_id as image_id,
    count(*) as n_rows
from repeated
inner join images on repeated.image_key = id_key(images.image_id)
group by images.image_id
