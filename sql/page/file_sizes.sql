-- A row is one range of the bytes of originals, whose end is twice its beginning, with how many files that came have it.
-- reads: originals
-- params: none
with counted as (
    select
        cast(floor(log2(bytes_len)) as bigint) as power,
        count(*) as files
    from originals
    where outcome = 'ok' and bytes_len > 0
    group by power
)

select
    case
        when power < 10 then concat(cast(power(2, power) as bigint), ' B')
        when power < 20 then concat(cast(power(2, power - 10) as bigint), ' kiB')
        else concat(cast(power(2, power - 20) as bigint), ' MiB')
    end as at_least,
    cast(files as bigint) as files
from counted
order by power
