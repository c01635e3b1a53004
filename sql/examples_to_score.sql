-- A row is one example of a chunk, with what a model needs to score it beside the pixels.
-- reads: chunk_examples (example_id), examples
-- params: none
select
    cast(examples.example_id as varchar) as example_id,
    cast(examples.image_id as varchar) as image_id,
    cast(examples.text as varchar) as text,
    examples.input_ids as input_ids
from examples
inner join chunk_examples on examples.example_id = chunk_examples.example_id
