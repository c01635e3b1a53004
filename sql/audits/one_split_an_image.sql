-- A row is one image that has examples in more than one split.
-- reads: examples
-- params: none
select image_id as image_id
from examples
where split is not null
group by image_id
having count(distinct split) > 1
