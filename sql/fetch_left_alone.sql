-- A row is one registered domain (or address) that wants to be left alone, and until when.
-- reads: originals
-- params: $now
select
    cast(registered_domain(locator) as varchar) as host,
    max(next_try_at) as left_alone_until
from originals
where
    outcome = 'rate_limited'
    and next_try_at > $now
    and registered_domain(locator) is not null
    -- Where a redirect led is another's; robots.txt has no status here.
    and final_url is null
    and coalesce(http_status, 429) not between 300 and 399
group by registered_domain(locator)
