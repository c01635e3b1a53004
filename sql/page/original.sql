-- A row is one picture file as it came, the first of its bytes that was fetched.
-- reads: originals
-- params: $image_id
select
    bytes as bytes,
    cast(media_type as varchar) as media_type
from originals
where image_id = $image_id and bytes is not null
order by seq
limit 1
