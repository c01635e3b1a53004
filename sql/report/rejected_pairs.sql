-- A row is one of the first pairs that curate refused for a reason, those first whose picture can be shown.
-- reads: examples, pairs, images
-- params: $shown (how many of each reason)
with decoded as (
    select image_id
    from images
    where reject_reason is null
),

counted as (
    select reject_reason, count(*) as pairs
    from examples
    where reject_reason is not null
    group by reject_reason
),

numbered as (
    select
        examples.reject_reason as reject_reason,
        examples.example_id as example_id,
        decoded.image_id as image_id,
        row_number() over (
            partition by examples.reject_reason
            order by decoded.image_id is null, examples.example_id
        ) as place
    from examples
    left join decoded on examples.image_id = decoded.image_id
    where examples.reject_reason is not null
),

shown as (
    select reject_reason, example_id, image_id, place
    from numbered
    where place <= $shown
)

select
    shown.reject_reason as reason,
    cast(counted.pairs as bigint) as pairs,
    left(coalesce(pairs.text, ''), 300) as text,
    left(coalesce(nullif(pairs.filename, ''), nullif(pairs.url, ''), ''), 300) as source,
    shown.image_id as image_id
from shown
inner join counted on shown.reject_reason = counted.reject_reason
inner join pairs on shown.example_id = pairs.pair_id
order by pairs desc, reason, shown.place
