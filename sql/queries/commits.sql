-- A row is one commit to a table, with the run that made it; the version can be read as `TABLE@vN`.
-- reads: history, runs
-- params: none
select
    history.table_name as table_name,
    history.version as version,
    history.committed as committed,
    history.operation as operation,
    history.stage as stage,
    runs.outcome as outcome,
    runs.rows_in as rows_in,
    runs.rows_out as rows_out,
    history.run_id as run_id
from history
left join runs on history.run_id = runs.run_id
order by history.committed desc, history.table_name, history.version desc
