-- A row is one image of the files that are rewritten: as it was, or as it is now.
-- reads: rewritten_files (the images of those files), changed_images
-- params: none
select
    kept.image_id as image_id,
    kept.width as width,
    kept.height as height,
    kept.format as format,
    kept.color as color,
    kept.orientation as orientation,
    kept.frames as frames,
    kept.dhash as dhash,
    kept.thumb as thumb,
    kept.look as look,
    kept.size_px as size_px,
    kept.codec as codec,
    kept.pixels as pixels,
    kept.pixels_crc32 as pixels_crc32,
    kept.reject_reason as reject_reason,
    kept.detail as detail,
    kept.filter as filter,
    kept.speed as speed,
    kept.oriented as oriented
from rewritten_files as kept
left anti join changed_images on kept.image_id = changed_images.image_id
union all
select
    image_id,
    width,
    height,
    format,
    color,
    orientation,
    frames,
    dhash,
    thumb,
    look,
    size_px,
    codec,
    pixels,
    pixels_crc32,
    reject_reason,
    detail,
    filter,
    speed,
    oriented
from changed_images
