-- A row is the last run of curate that came to its gates: when it began, and the own audit that refused what it made, NULL if none did.
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
    and coalesce(outcome, 'ok') in ('ok', 'gate')
order by run_id desc
limit 1
