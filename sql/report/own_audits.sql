-- A row is the last run of curate that passed its gates, or that an own audit refused: when it began, and which did, NULL if none.
-- reads: runs
-- params: none
select
    date_trunc('second', started) as started_utc,
    case
        when outcome = 'gate' and error like '%: expected no rows, found%'
            then split_part(error, ': expected no rows, found', 1)
    end as audit
from runs
where
    stage = 'curate'
    and (
        coalesce(outcome, 'ok') = 'ok'
        or (outcome = 'gate' and error like '%: expected no rows, found%')
    )
order by run_id desc
limit 1
