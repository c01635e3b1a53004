-- A row is one split or one reason, with how many pairs ended there.
-- reads: examples
-- params: none
select
    coalesce(split, 'rejected') as split,
    coalesce(reject_reason, '') as reject_reason,
    count(*) as pairs
from examples
group by split, reject_reason
order by split, pairs desc, reject_reason
