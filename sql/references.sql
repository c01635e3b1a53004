-- A row is one reference: a caption, within the split, of one of the first $n_images images of a sample of its examples;
-- position is where in the sample the image first stands.
-- reads: examples, sampled
-- params: $split, $n_images
with split_examples as (
    select
        example_id,
        image_id,
        text
    from examples
    where split = $split
),

firsts as (
    select
        split_examples.image_id,
        min(sampled.position) as position
    from split_examples
    inner join sampled on split_examples.example_id = sampled.example_id
    group by split_examples.image_id
),

numbered as (
    select
        image_id,
        position,
        row_number() over (order by position) as number
    from firsts
),

chosen as (
    select
        image_id,
        position
    from numbered
    where number <= $n_images
)

select
    cast(chosen.position as bigint) as position,
    cast(chosen.image_id as varchar) as image_id,
    cast(split_examples.example_id as varchar) as example_id,
    cast(split_examples.text as varchar) as text
from chosen
inner join split_examples on chosen.image_id = split_examples.image_id
order by position, example_id
