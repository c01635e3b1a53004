-- A row is one image that has examples in more than one split.
-- reads: examples
-- params: none
with torn as (
    select id_key(image_id) as image_key
    from examples
    where split is not null
    group by id_key(image_id)
    having min(split) <> max(split)
)

select distinct examples.image_id as image_id
from torn
inner join examples on torn.image_key = id_key(examples.image_id)
