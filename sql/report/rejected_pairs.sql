-- A row is one of the first pairs that curate refused for a reason, those first whose picture can be shown.
-- reads: examples, pairs, images
-- params: $shown (how many of each reason)
with decoded as (
    select image_id
    from images
    where reject_reason is null
),

numbered as (
    select
        examples.reject_reason as reason,
        examples.example_id as example_id,
        coalesce(pairs.text, '') as text,
        coalesce(nullif(pairs.filename, ''), nullif(pairs.url, ''), '') as source,
        decoded.image_id as image_id,
        count(*) over (partition by examples.reject_reason) as pairs,
        row_number() over (
            partition by examples.reject_reason
            order by decoded.image_id is null, examples.example_id
        ) as place
    from examples
    inner join pairs on examples.example_id = pairs.pair_id
    left join decoded on examples.image_id = decoded.image_id
    where examples.reject_reason is not null
)

select
    reason as reason,
    cast(pairs as bigint) as pairs,
    text as text,
    source as source,
    image_id as image_id
from numbered
where place <= $shown
order by pairs desc, reason, place
