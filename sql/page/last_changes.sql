-- A row is one table, with its last commit.
-- reads: history
-- params: none
select
    table_name as table_name,
    max(version) as version,
    date_trunc('second', max(committed)) as committed
from history
group by table_name
order by table_name
