-- A row is one example that is exported and where its picture lies (null if it is lost), in the order in which the pictures lie.
-- reads: export_selection, export_places (a row is one picture of a table's files: image_key, place, bytes_len)
-- params: none
with firsts as (
    select
        image_key,
        min(place) as place,
        max(bytes_len) as bytes_len
    from export_places
    group by image_key
)

select
    cast(s.example_id as varchar) as example_id,
    cast(s.image_id as varchar) as image_id,
    cast(s.split as varchar) as split,
    cast(s.text as varchar) as text,
    cast(s.raw_text as varchar) as raw_text,
    cast(s.url as varchar) as url,
    cast(s.filename as varchar) as filename,
    cast(s.source as varchar) as source,
    cast(s.source_line as bigint) as source_line,
    cast(s.n_tokens as int) as n_tokens,
    cast(s.width as int) as width,
    cast(s.height as int) as height,
    cast(s.format as varchar) as format,
    cast(s.size_px as int) as size_px,
    cast(s.codec as varchar) as codec,
    cast(s.pixels_crc32 as bigint) as pixels_crc32,
    cast(f.place as bigint) as place,
    cast(coalesce(f.bytes_len, s.size_px * s.size_px * 3) as bigint) as bytes_len
from export_selection as s
left join firsts as f on id_key(s.image_id) = f.image_key
order by split, place, example_id
