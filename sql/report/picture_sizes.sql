-- A row is one range of the longer side of pictures, whose end is twice its beginning, with how many distinct ones have it.
-- reads: images
-- params: none
with counted as (
    select
        cast(power(2, floor(log2(greatest(width, height)))) as bigint) as at_least,
        count(*) as images
    from images
    where width > 0 and height > 0
    group by at_least
)

select
    concat(at_least, '–', 2 * at_least - 1, ' px') as longer_side,
    cast(images as bigint) as images
from counted
order by at_least
