-- A row is how the last attempt of a run ended, and for how many locators: the last is what became of a locator.
-- reads: originals
-- params: $first_seq (the first attempt of the run)
with last as (
    select max(seq) as seq
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
