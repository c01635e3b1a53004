-- A row is the last run of curate that changed examples: the versions of the table before and after it.
-- reads: runs
-- params: none
select
    cast(versions_read['examples'] as bigint) as version_before,
    cast(versions_written['examples'] as bigint) as version_after
from runs
where
    stage = 'curate'
    and coalesce(outcome, 'ok') = 'ok'
    and versions_written['examples'] > versions_read['examples']
order by run_id desc
limit 1
