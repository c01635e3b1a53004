-- A row is one range of five lengths of the captions in a split, in characters, with how many have one of them; the last is open.
-- reads: examples
-- params: none
with counted as (
    select
        least(character_length(text) / 5 * 5, 60) as at_least,
        count(*) as captions
    from examples
    where split is not null
    group by at_least
)

select
    case at_least when 60 then '60 or more' else concat(at_least, '–', at_least + 4) end as characters,
    cast(captions as bigint) as captions
from counted
order by at_least
