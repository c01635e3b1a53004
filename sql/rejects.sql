-- A row is one thing that a stage refused: a line, a locator without an answer, an image, or a pair.
-- reads: pairs, originals, images, examples
-- params: none
with unanswered as (
    -- The last attempt at a locator is what became of it.
    select max(seq) as seq
    from originals
    group by id128(locator)
    having not bool_or(outcome = 'ok')
)

select
    cast('ingest' as varchar) as stage,
    cast(pair_id as varchar) as id,
    cast('malformed_line' as varchar) as reason,
    cast(source || ':' || cast(source_line as varchar) || ': ' || malformed as varchar) as detail
from pairs
where malformed is not null
union all
select
    cast('fetch' as varchar) as stage,
    cast(locator as varchar) as id,
    cast(outcome as varchar) as reason,
    cast(detail as varchar) as detail
from unanswered
inner join originals on unanswered.seq = originals.seq
union all
select
    cast('decode' as varchar) as stage,
    cast(image_id as varchar) as id,
    cast(reject_reason as varchar) as reason,
    cast(detail as varchar) as detail
from images
where reject_reason is not null
union all
select
    cast('curate' as varchar) as stage,
    cast(example_id as varchar) as id,
    cast(reject_reason as varchar) as reason,
    cast(text as varchar) as detail
from examples
where reject_reason is not null
