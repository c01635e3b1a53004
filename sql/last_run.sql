-- A row is a run of a stage that ended well, or one of optimize: what it was told, when it ended, and the table versions it read and
-- wrote.
-- reads: runs
-- params: $stage
select
    cast(run_id as varchar) as run_id,
    cast(stage as varchar) as stage,
    cast(settings as varchar) as settings,
    finished as finished,
    versions_read as versions_read,
    versions_written as versions_written
from runs
where stage in ($stage, 'optimize') and coalesce(outcome, 'ok') = 'ok'
order by run_id
