-- A row is one of the last twenty runs.
-- reads: runs
-- params: none
select
    stage as stage,
    date_trunc('second', started) as started_utc,
    round(date_part('epoch', finished) - date_part('epoch', started), 1) as seconds,
    coalesce(outcome, 'ok') as outcome,
    rows_in as rows_in,
    rows_out as rows_out,
    coalesce(error, '') as error
from runs
order by run_id desc
limit 20
