-- A row is one image that was tried again and came to something else, and the file in which it stood.
-- reads: tried_images (as they are now), images_in_files (as they were, with their file)
-- params: none
select
    tried_images.image_id as image_id,
    tried_images.width as width,
    tried_images.height as height,
    tried_images.format as format,
    tried_images.color as color,
    tried_images.orientation as orientation,
    tried_images.frames as frames,
    tried_images.dhash as dhash,
    tried_images.thumb as thumb,
    tried_images.look as look,
    tried_images.size_px as size_px,
    tried_images.codec as codec,
    tried_images.pixels as pixels,
    tried_images.pixels_crc32 as pixels_crc32,
    tried_images.reject_reason as reject_reason,
    tried_images.detail as detail,
    tried_images.filter as filter,
    tried_images.speed as speed,
    tried_images.oriented as oriented,
    cast(images_in_files.file as varchar) as file
from tried_images
inner join images_in_files on tried_images.image_id = images_in_files.image_id
where tried_images.reject_reason is distinct from images_in_files.reject_reason
