-- A row is the number of attempts whose next time has come, whether or not another followed.
-- reads: originals
-- params: $due_since, $now, $may_pass (the outcomes whose reason may pass)
select cast(count(*) as bigint) as n_due
from originals
where coalesce(next_try_at, fetched_at) between $due_since and $now and array_has($may_pass, outcome)
