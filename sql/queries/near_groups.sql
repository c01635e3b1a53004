-- A row is one group of near-identical images of train, with the captions of its pairs; `curate.group_near` makes groups.
-- reads: examples
-- params: none
select
    near_group as near_group,
    count(distinct image_id) as images,
    count(distinct text) as captions,
    count(*) as pairs,
    array_to_string(array_agg(distinct text order by text), ' | ') as texts
from examples
where near_group is not null
group by near_group
order by images desc, near_group
