-- A row is a locator of one of the hosts that answered last.
-- reads: originals
-- params: none
with answered as (
    select
        registered_domain(locator) as host,
        max(seq) as seq
    from originals
    where http_status is not null
    group by registered_domain(locator)
),

last as (
    select seq
    from answered
    order by seq desc
    limit 10
)

select cast(originals.locator as varchar) as locator
from last
inner join originals on last.seq = originals.seq
