-- A row is one of the last 500 runs: when it began, in seconds since 1970, how long it took, and how many rows it handled.
-- reads: runs
-- params: none
select
    stage as stage,
    cast(date_part('epoch', started) as bigint) as started_epoch,
    round(date_part('epoch', finished) - date_part('epoch', started), 2) as seconds,
    rows_in as rows_in,
    rows_out as rows_out,
    coalesce(outcome, 'ok') as outcome
from runs
order by run_id desc
limit 500
