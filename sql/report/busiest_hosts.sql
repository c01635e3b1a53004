-- A row is one of the twenty hosts that were asked for most, and how that went.
-- reads: hosts
-- params: none
select
    host as host,
    locators as urls,
    ok as ok,
    coalesce(most_common_failure, '') as most_common_failure,
    coalesce(median_ms, 0) as median_ms
from hosts
order by locators desc, host
limit 20
