-- A row is one of the first pairs of a split by their id, which is a hash: a fair sample.
-- reads: examples
-- params: $shown (how many of each split)
with counted as (
    select split, count(*) as pairs
    from examples
    where split is not null
    group by split
),

numbered as (
    select
        split,
        example_id,
        row_number() over (partition by split order by example_id) as place
    from examples
    where split is not null
),

shown as (
    select split, example_id, place
    from numbered
    where place <= $shown
)

select
    shown.split as split,
    cast(counted.pairs as bigint) as pairs,
    left(examples.text, 300) as text,
    examples.image_id as image_id
from shown
inner join counted on shown.split = counted.split
inner join examples on shown.example_id = examples.example_id
order by pairs desc, shown.split, shown.place
