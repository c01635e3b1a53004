-- A row is one locator to ask for, with how often it was asked for before, and its place in the order of asking.
-- reads: pairs, originals
-- params: $from_files (files of an image folder by the pairs' file names, else URLs), $retry_failed (also what failed before),
-- $attempts (how often to try what failed for a reason that may pass)
with wanted as (
    select distinct case when $from_files then 'file:' || filename else url end as locator
    from pairs
    where case when $from_files then filename else url end is not null
),

tried as (
    select
        locator,
        max(attempt) as attempts,
        bool_or(outcome = 'ok') as got,
        bool_and(outcome in ('timeout', 'connect', 'broken')) as may_pass
    from originals
    group by locator
),

todo as (
    select
        wanted.locator as locator,
        coalesce(tried.attempts, 0) as attempts
    from wanted
    left join tried on wanted.locator = tried.locator
    where
        tried.locator is null
        or (not tried.got and ($retry_failed or (tried.may_pass and tried.attempts < $attempts)))
)

select
    cast(locator as varchar) as locator,
    cast(attempts as int) as attempts,
    -- Rows of one host stand together in a crawl; a hash spreads the requests over the hosts, the same way each time.
    cast(case when $from_files then locator else md5(locator) end as varchar) as place
from todo
