-- A row is the number of attempts whose next time has come, whether or not it was used already.
-- reads: originals
-- params: $now, $may_pass (the outcomes whose reason may pass)
select cast(count(*) as bigint) as n_due
from originals
where array_has($may_pass, outcome) and coalesce(next_try_at, fetched_at) <= $now
