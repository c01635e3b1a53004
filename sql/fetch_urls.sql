-- A row is one URL to ask for, with how often it was asked for before.
-- reads: pairs, originals
-- params: $retry_failed
with wanted as (
    select distinct url as locator
    from pairs
    where url is not null
),

tried as (
    select
        locator,
        max(attempt) as attempts,
        bool_or(outcome = 'ok') as got
    from originals
    group by locator
),

todo as (
    select
        wanted.locator as locator,
        coalesce(tried.attempts, 0) as attempts
    from wanted
    left join tried on wanted.locator = tried.locator
    where tried.locator is null or ($retry_failed and not tried.got)
)

select
    cast(locator as varchar) as locator,
    cast(attempts as int) as attempts
from todo
-- Rows of one host stand together in a crawl; a hash spreads the requests over the hosts, the same way each time.
order by md5(locator), locator
