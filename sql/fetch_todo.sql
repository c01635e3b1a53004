-- A row is one locator to ask for, with how often it was asked for before, and its place in the order of asking.
-- reads: pairs (those that may not have been asked for), originals
-- params: $from_files (files of an image folder by the pairs' file names, else URLs), $retry_failed (also what failed before),
-- $attempts (how often to try what failed for a reason that may pass), $may_pass (the outcomes for such a reason)
with wanted as (
    select case when $from_files then 'file:' || filename else url end as locator
    from pairs
    where case when $from_files then filename else url end is not null
),

tried as (
    select
        wanted.locator as locator,
        max(originals.attempt) as attempts,
        bool_or(originals.outcome = 'ok') as got,
        bool_and(array_has($may_pass, originals.outcome)) as may_pass
    from wanted
    left join originals on wanted.locator = originals.locator
    group by wanted.locator
)

select
    cast(locator as varchar) as locator,
    cast(coalesce(attempts, 0) as int) as attempts,
    -- Rows of one host stand together in a crawl; a hash spreads the requests over the hosts, the same way each time.
    cast(case when $from_files then locator else md5(locator) end as varchar) as place
from tried
where
    attempts is null
    or (not got and ($retry_failed or (may_pass and attempts < $attempts)))
