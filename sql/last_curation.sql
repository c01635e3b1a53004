-- A row is the last run of curate: its rules, the versions it read, and the version of examples that it wrote.
-- reads: runs
-- params: none
select
    cast(settings as varchar) as settings,
    cast(coalesce(versions_read['pairs'], -1) as varchar) as pairs,
    cast(coalesce(versions_read['originals'], -1) as varchar) as originals,
    cast(coalesce(versions_read['images'], -1) as varchar) as images,
    cast(coalesce(versions_written['examples'], -1) as varchar) as examples
from runs
where stage = 'curate'
order by run_id desc
limit 1
