-- A row is one of the last 30 commits to a table, with the run that made it.
-- reads: history, runs
-- params: none
select
    history.table_name as table_name,
    history.version as version,
    date_trunc('second', history.committed) as committed_utc,
    coalesce(history.operation, '') as operation,
    coalesce(history.stage, '') as stage,
    runs.rows_in as rows_in,
    runs.rows_out as rows_out,
    coalesce(history.run_id, '') as run_id
from history
left join runs on history.run_id = runs.run_id
order by history.committed desc, history.table_name, history.version desc
limit 30
