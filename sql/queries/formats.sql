-- A row is one picture format and colour type, with how many distinct files have it and how many of them could not be decoded.
-- reads: images
-- params: none
select
    coalesce(format, 'unknown') as format,
    coalesce(color, '') as color,
    count(*) as images,
    count(reject_reason) as rejected,
    round(avg(cast(width as double) * height / 1e6), 2) as mean_mpx
from images
group by format, color
order by images desc, format, color
