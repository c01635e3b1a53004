-- A row is one image: what is known of its file, and how its square was made.
-- reads: images
-- params: $image_id
select
    cast(image_id as varchar) as image_id,
    cast(width as int) as width,
    cast(height as int) as height,
    cast(format as varchar) as format,
    cast(color as varchar) as color,
    cast(orientation as int) as orientation,
    cast(frames as int) as frames,
    cast(dhash as bigint) as dhash,
    cast(size_px as int) as size_px,
    cast(codec as varchar) as codec,
    cast(pixels_crc32 as bigint) as pixels_crc32,
    cast(reject_reason as varchar) as reject_reason,
    cast(detail as varchar) as detail,
    cast(filter as varchar) as filter,
    cast(speed as varchar) as speed,
    cast(oriented as boolean) as oriented
from images
where image_id = $image_id
