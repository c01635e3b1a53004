-- A row is one range of the longer side of pictures in pixels, up to twice its beginning, with how many distinct ones have it.
-- reads: images
-- params: none
select
    cast(power(2, floor(log2(greatest(width, height)))) as bigint) as at_least_px,
    cast(count(*) as bigint) as images
from images
where width > 0 and height > 0
group by at_least_px
order by at_least_px
