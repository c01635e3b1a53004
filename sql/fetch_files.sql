-- A row is one file of an image folder to read, with how often it was tried before.
-- reads: pairs, originals
-- params: $retry_failed (also what failed before), $attempts (how often to try what failed for a reason that may pass)
with wanted as (
    select distinct 'file:' || filename as locator
    from pairs
    where filename is not null
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
    cast(attempts as int) as attempts
from todo
order by locator
