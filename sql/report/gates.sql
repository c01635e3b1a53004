-- A row is one stage whose rejected rows a gate bounds: what it judges, how many there are, and how many of them were rejected.
-- reads: originals, images, examples
-- params: none
with last as (
    -- What was got once is there; else the last attempt at a locator is what became of it.
    select coalesce(max(case when outcome = 'ok' then seq end), max(seq)) as seq
    from originals
    group by id128(locator)
),

counted as (
    select
        1 as place,
        'fetch' as stage,
        'locators' as judged,
        count(*) as n_rows,
        count(case when originals.outcome not in ('ok', 'not_modified') then 1 end) as n_rejected
    from last
    inner join originals on last.seq = originals.seq
    union all
    select 2 as place, 'decode' as stage, 'images' as judged, count(*) as n_rows, count(reject_reason) as n_rejected
    from images
    union all
    select 3 as place, 'curate' as stage, 'pairs' as judged, count(*) as n_rows, count(reject_reason) as n_rejected
    from examples
)

select
    cast(stage as varchar) as stage,
    cast(judged as varchar) as judged,
    cast(n_rows as bigint) as n_rows,
    cast(n_rejected as bigint) as n_rejected
from counted
order by place
