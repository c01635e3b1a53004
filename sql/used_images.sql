-- A row is one image and a split that faultless pairs want it for.
-- reads: clean_captions
-- params: none
select distinct
    cast(image_id as varchar) as image_id,
    cast(split_hint as varchar) as split
from clean_captions
where fault is null
