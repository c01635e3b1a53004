-- A row is a run of a stage that did all there was to do (fetch and decode judge their gates after that, and curate, which commits once, may be interrupted after it), or one of optimize, however
-- it ended: what it was told, when it began and ended, and the table versions it read and wrote.
-- reads: runs
-- params: $stage
select
    cast(run_id as varchar) as run_id,
    cast(stage as varchar) as stage,
    cast(settings as varchar) as settings,
    started as started,
    finished as finished,
    versions_read as versions_read,
    versions_written as versions_written
from runs
where
    stage = 'optimize'
    or (
        stage = $stage
        and (
            coalesce(outcome, 'ok') = 'ok'
            or outcome = 'gate' and stage in ('fetch', 'decode')
            or outcome = 'interrupted' and stage = 'curate' and commits > 0
        )
    )
order by run_id
