-- A row is one reason for which a stage refused something, with one of the things it was said of.
-- reads: rejects
-- params: none
select
    stage as stage,
    reason as reason,
    count(*) as n_rows,
    left(min(detail), 300) as an_example
from rejects
group by stage, reason
order by stage, n_rows desc, reason
