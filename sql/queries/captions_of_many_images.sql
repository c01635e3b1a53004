-- A row is one clean caption that several images have, which says little of any of them.
-- reads: examples
-- params: none
select
    text as text,
    count(distinct image_id) as images,
    count(*) as pairs,
    count(split) as in_splits,
    min(image_id) as an_image_id
from examples
where text <> '' and image_id is not null
group by text
having count(distinct image_id) > 1
order by images desc, text
