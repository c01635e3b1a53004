-- A row is one image that is decoded under no known codec, or rejected and yet under one.
-- reads: images
-- params: none
select
    image_id as image_id,
    codec as codec
from images
where
    (codec is null) <> (reject_reason is not null)
    or codec not in ('raw', 'jpeg')
