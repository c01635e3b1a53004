-- A row is one distinct original of the chunk at hand, decoded or rejected.
-- reads: originals, decode_chunk
-- params: $first_seq, $last_seq (the chunk's bounds, so that files and row groups outside it are not read), $size_px, $filter, $speed, $oriented
with chunk as (
    select
        originals.image_id,
        originals.bytes
    from originals
    inner join decode_chunk on originals.seq = decode_chunk.seq
    where originals.seq between $first_seq and $last_seq
),

decoded as (
    select
        image_id,
        decode_image(bytes) as image
    from chunk
)

select
    image_id,
    image['width'] as width,
    image['height'] as height,
    image['format'] as format,
    image['color'] as color,
    image['orientation'] as orientation,
    image['frames'] as frames,
    image['dhash'] as dhash,
    image['thumb'] as thumb,
    image['look'] as look,
    cast($size_px as int) as size_px,
    image['codec'] as codec,
    image['pixels'] as pixels,
    image['pixels_crc32'] as pixels_crc32,
    image['reject_reason'] as reject_reason,
    image['detail'] as detail,
    cast($filter as varchar) as filter,
    cast($speed as varchar) as speed,
    cast($oriented as boolean) as oriented
from decoded
