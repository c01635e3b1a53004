-- A row is one registered domain (or address) that was asked, and how that went.
-- reads: originals
-- params: none
with attempts as (
    select
        registered_domain(locator) as host,
        id128(locator) as locator_key,
        outcome,
        elapsed_ms,
        wire_bytes,
        fetched_at,
        next_try_at
    from originals
    where not starts_with(locator, 'file:')
),

failures as (
    select
        host,
        outcome,
        count(*) as n
    from attempts
    where outcome not in ('ok', 'not_modified')
    group by host, outcome
),

most_common as (
    select
        host,
        first_value(outcome order by n desc, outcome) as outcome
    from failures
    group by host
),

totals as (
    select
        host,
        count(distinct locator_key) as locators,
        count(case when outcome <> 'host_down' then 1 end) as attempts,
        count(case when outcome = 'ok' then 1 end) as ok,
        sum(wire_bytes) as wire_bytes,
        median(case when outcome = 'ok' then elapsed_ms end) as median_ms,
        max(fetched_at) as last_asked_at,
        max(case when outcome in ('rate_limited', 'host_down') then next_try_at end) as left_alone_until
    from attempts
    group by host
)

select
    cast(totals.host as varchar) as host,
    cast(totals.locators as bigint) as locators,
    cast(totals.attempts as bigint) as attempts,
    cast(totals.ok as bigint) as ok,
    cast(most_common.outcome as varchar) as most_common_failure,
    cast(totals.wire_bytes as bigint) as wire_bytes,
    cast(totals.median_ms as bigint) as median_ms,
    totals.last_asked_at as last_asked_at,
    totals.left_alone_until as left_alone_until
from totals
left join most_common on totals.host is not distinct from most_common.host
