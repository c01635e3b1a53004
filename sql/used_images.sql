-- A row is one faultless pair's image, and the split that it wants it for; an image may come several times.
-- reads: clean_captions
-- params: none
select
    cast(image_id as varchar) as image_id,
    cast(split as varchar) as split
from clean_captions
where fault is null
