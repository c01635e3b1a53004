-- A row is one distinct example that is to be scored, with its image, or the reason why it is not: no_example_id (one row for all of them),
-- unknown_example, example_rejected, no_image (it is not decoded any more), or known (this model scored it as it is, with these settings).
-- reads: asked_examples (example_id: the rows of a selection), examples, images, scores
-- params: $model_id, $settings
with asked as (
    select
        example_id,
        count(*) as n_rows
    from asked_examples
    group by example_id
),

decoded as (
    select image_id
    from images
    where reject_reason is null
),

known as (
    select distinct
        example_id,
        image_id,
        text
    from scores
    where model_id = $model_id and settings = $settings
)

select
    cast(asked.example_id as varchar) as example_id,
    cast(examples.image_id as varchar) as image_id,
    cast(case
        when asked.example_id is null then 'no_example_id'
        when examples.example_id is null then 'unknown_example'
        when examples.split is null then 'example_rejected'
        when decoded.image_id is null then 'no_image'
        when known.example_id is not null then 'known'
    end as varchar) as skip_reason,
    cast(case when asked.example_id is null then asked.n_rows else 1 end as bigint) as n_rows
from asked
left join examples on asked.example_id = examples.example_id
left join decoded on examples.image_id = decoded.image_id
left join known
    on examples.example_id = known.example_id
    and examples.image_id = known.image_id
    and examples.text = known.text
