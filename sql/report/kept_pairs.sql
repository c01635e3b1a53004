-- A row is one of the first pairs of a split by their id, which is a hash: a fair sample.
-- reads: examples
-- params: $shown (how many of each split)
with numbered as (
    select
        split,
        text,
        image_id,
        count(*) over (partition by split) as pairs,
        row_number() over (partition by split order by example_id) as place
    from examples
    where split is not null
)

select
    split as split,
    cast(pairs as bigint) as pairs,
    text as text,
    image_id as image_id
from numbered
where place <= $shown
order by pairs desc, split, place
