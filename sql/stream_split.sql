-- A row is one example of a split: what the stream needs of it when no predicate speaks of its image.
-- reads: examples
-- params: $split
select
    cast(e.example_id as varchar) as example_id,
    cast(e.image_id as varchar) as image_id,
    e.input_ids as input_ids
from examples as e
where e.split = $split
