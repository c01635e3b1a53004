-- A row is one way of pairs through the stages, with how many pairs went it: from a source, through what fetch and decode made of their
-- picture, to where curate put them. A pair goes exactly one way. Null stands for stages that a pair did not come to; a pair that curate has not
-- seen ends as `not_curated`, unless an earlier stage has refused it.
-- reads: pairs, examples, originals, images
-- params: none
with judged as (
    select
        pairs.source,
        examples.split,
        examples.reject_reason,
        count(*) as pairs
    from pairs
    inner join examples on pairs.pair_id = examples.example_id
    where coalesce(examples.reject_reason, '') not in ('fetch_failed', 'image_rejected')
    group by pairs.source, examples.split, examples.reject_reason
),

-- Pairs of which examples do not say what became of the picture, once for each of their locators.
sought as (
    select
        pairs.pair_id,
        pairs.source,
        unnest(make_array(pairs.url, 'file:' || pairs.filename)) as locator,
        examples.image_id,
        case
            when examples.reject_reason is not null then examples.reject_reason
            when pairs.malformed is not null then 'malformed_line'
            when pairs.url is null and pairs.filename is null then 'no_locator'
        end as fault
    from pairs
    left join examples on pairs.pair_id = examples.example_id
    where examples.example_id is null or examples.reject_reason in ('fetch_failed', 'image_rejected')
),

-- The last good attempt counts, that of the file before that of the URL; where there is none, how the last attempt at the URL ended.
found as (
    select
        sought.source,
        sought.fault,
        coalesce(
            sought.image_id,
            last_value(originals.image_id order by starts_with(originals.locator, 'file:'), originals.seq)
                filter (where originals.outcome = 'ok')
        ) as image_id,
        last_value(originals.outcome order by not starts_with(originals.locator, 'file:'), originals.seq)
            filter (where originals.outcome <> 'ok') as outcome
    from sought
    left join originals on sought.locator = originals.locator
    group by sought.pair_id, sought.source, sought.fault, sought.image_id
),

located as (
    select
        found.source,
        case
            when found.fault = 'image_rejected' then 'got'
            when found.fault = 'fetch_failed' then coalesce(found.outcome, 'fetch_failed')
            when found.fault is not null then found.fault
            when found.image_id is not null then 'got'
            else coalesce(found.outcome, 'not_fetched')
        end as fetched,
        case
            when found.fault = 'image_rejected' then coalesce(images.reject_reason, 'image_rejected')
            when images.image_id is null then 'not_decoded'
            else coalesce(images.reject_reason, 'decoded')
        end as decoded,
        count(*) as pairs
    from found
    left join images on found.image_id = images.image_id
    group by fetched, decoded, found.source
),

ways as (
    select
        source,
        case when reject_reason in ('malformed_line', 'no_locator', 'not_fetched') then reject_reason else 'got' end as fetched,
        case when reject_reason = 'not_decoded' then reject_reason else 'decoded' end as decoded,
        coalesce(split, reject_reason) as ended,
        split is not null as is_kept,
        pairs
    from judged
    union all
    select source, fetched, decoded, 'not_curated' as ended, false as is_kept, pairs
    from located
),

cut as (
    select
        source,
        fetched,
        case when fetched = 'got' then decoded end as decoded,
        case when fetched = 'got' and decoded = 'decoded' then ended end as ended,
        is_kept,
        pairs
    from ways
)

select
    cast(source as varchar) as source,
    cast(fetched as varchar) as fetched,
    cast(decoded as varchar) as decoded,
    cast(ended as varchar) as ended,
    cast(is_kept as boolean) as is_kept,
    cast(sum(pairs) as bigint) as pairs
from cut
group by source, fetched, decoded, ended, is_kept
order by pairs desc, source, fetched, decoded, ended
