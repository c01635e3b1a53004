-- A row is one step on the way of a pair from a source to a split, with how many pairs came that far.
-- reads: pairs, examples, images
-- params: none
with decoded as (
    select image_id
    from images
    where reject_reason is null
),

steps as (
    select 1 as place, 'read from the sources' as step, count(*) as pairs from pairs
    union all
    select 2 as place, 'whose picture was got' as step, count(image_id) as pairs from examples
    union all
    select 3 as place, 'whose picture was decoded' as step, count(*) as pairs
    from examples
    inner join decoded on examples.image_id = decoded.image_id
    union all
    select 4 as place, 'in a split' as step, count(split) as pairs from examples
)

select
    cast(step as varchar) as step,
    cast(pairs as bigint) as pairs
from steps
order by place
