-- A row is what became of locators in a run, and of how many: what was got once is there, however often it was asked for again; else the
-- last attempt says.
-- reads: originals
-- params: $first_seq (the first attempt of the run)
with last as (
    select coalesce(max(case when outcome = 'ok' then seq end), max(seq)) as seq
    from originals
    where seq >= $first_seq
    group by id128(locator)
)

select
    cast(originals.outcome as varchar) as outcome,
    cast(count(*) as bigint) as n_locators
from last
inner join originals on last.seq = originals.seq
group by originals.outcome
