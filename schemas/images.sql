-- A row is one distinct original, decoded or rejected. Appended to; a rejected row is replaced if it is tried again and comes to something else.
create table images (
    image_id varchar not null comment 'first 128 bits of the SHA-256 of the original''s bytes, hex',
    width int comment 'width of the original in pixels, before rotation; null if the header cannot be read',
    height int comment 'height of the original in pixels, before rotation; null if the header cannot be read',
    format varchar comment 'format by content: jpeg, png, webp, gif, bmp, tiff, …; null if not a known one',
    color varchar comment 'colour type of the original: l, la, p, rgb, rgba, cmyk, l16, la16, rgb16, rgba16, …',
    orientation int comment 'EXIF orientation, 1 to 8; 1 if the file has none',
    frames int comment 'number of frames; 1 unless animated',
    dhash bigint comment 'difference hash of the square before its codec, 64 bits (Krawetz 2013); null if rejected',
    thumb binary comment '8x8x3 u8 box means of the square before its codec, RGB, row-major; null if rejected',
    look binary comment '48x48 u8 luma of box means of the square before its codec, row-major; null if rejected, and in rows written before version 3',
    size_px int not null comment 'side of the stored square in pixels',
    codec varchar comment 'how pixels is written down: raw or jpeg; null if rejected',
    pixels binary comment 'raw: size_px*size_px*3 u8, RGB, row-major; jpeg: a JPEG of size_px*size_px; null if rejected',
    pixels_crc32 bigint comment 'CRC-32 of the value of pixels (IEEE 802.3, as zlib''s crc32), 0 to 2^32-1; null if rejected',
    reject_reason varchar comment 'null if decoded, otherwise empty, not_an_image, unsupported_format, truncated, corrupt, too_many_pixels or out_of_memory: see docs/outcomes.md',
    detail varchar comment 'what the decoder said; null if decoded',
    filter varchar comment 'filter of the resize: bilinear, bicubic or lanczos; null in a row that was written before this column was',
    speed varchar comment 'exact: every pixel was decoded; fast: a large JPEG was shrunk while it was decoded; null as filter is',
    oriented boolean comment 'whether pixels were turned as the EXIF orientation says; null as filter is',
    primary key (image_id)
) with (version = 3);
