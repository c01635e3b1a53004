-- A row is one run of one stage or command that changed something or failed, the newest first.
-- reads: runs
-- params: none
select
    cast(run_id as varchar) as run_id,
    cast(stage as varchar) as stage,
    started as started,
    round(date_part('epoch', finished) - date_part('epoch', started), 1) as seconds,
    cast(coalesce(outcome, 'ok') as varchar) as outcome,
    cast(rows_in as bigint) as rows_in,
    cast(rows_out as bigint) as rows_out,
    rows_rejected as rows_rejected,
    cast(error as varchar) as error,
    cast(commits as bigint) as commits,
    versions_written as versions_written,
    cast(tuwen_version as varchar) as tuwen_version
from runs
order by run_id desc
