-- A row is one range of five lengths of the captions in a split, in characters, with how many have one of them; the last is open.
-- reads: examples
-- params: none
select
    cast(least(character_length(text) / 5 * 5, 60) as bigint) as at_least,
    cast(count(*) as bigint) as captions
from examples
where split is not null
group by at_least
order by at_least
