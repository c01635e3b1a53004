-- A row is one of the first decoded images by their id, which is a hash: a fair sample of their widths and heights.
-- reads: images
-- params: none
select
    width as width,
    height as height
from images
where reject_reason is null and width is not null and height is not null
order by image_id
limit 2000
