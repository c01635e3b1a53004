-- A row is how the last attempt of a run ended, and for how many locators: the last is what became of a locator.
-- reads: originals
-- params: $first_seq (the first attempt of the run)
with attempts as (
    select
        outcome,
        row_number() over (partition by locator order by seq desc) as place
    from originals
    where seq >= $first_seq
)

select
    cast(outcome as varchar) as outcome,
    cast(count(*) as bigint) as n_locators
from attempts
where place = 1
group by outcome
