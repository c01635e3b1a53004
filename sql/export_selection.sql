-- A row is one example of a split, with what is known of its pair and its image: what --where of `tuwen export` may speak of.
-- reads: examples, pairs, images
-- params: $splits (those that are exported)
with split_examples as (
    select
        example_id,
        image_id,
        split,
        text,
        input_ids,
        n_tokens,
        near_group
    from examples
    where array_has($splits, split)
),

decoded_images as (
    select
        image_id,
        width,
        height,
        format,
        color,
        orientation,
        frames,
        dhash,
        size_px,
        codec,
        pixels_crc32
    from images
    where reject_reason is null
)

select
    cast(e.example_id as varchar) as example_id,
    cast(e.image_id as varchar) as image_id,
    cast(e.split as varchar) as split,
    cast(e.text as varchar) as text,
    cast(p.text as varchar) as raw_text,
    cast(p.url as varchar) as url,
    cast(p.filename as varchar) as filename,
    cast(p.source as varchar) as source,
    cast(p.source_line as bigint) as source_line,
    e.input_ids as input_ids,
    cast(e.n_tokens as int) as n_tokens,
    cast(e.near_group as varchar) as near_group,
    cast(d.width as int) as width,
    cast(d.height as int) as height,
    cast(d.format as varchar) as format,
    cast(d.color as varchar) as color,
    cast(d.orientation as int) as orientation,
    cast(d.frames as int) as frames,
    cast(d.dhash as bigint) as dhash,
    cast(d.size_px as int) as size_px,
    cast(d.codec as varchar) as codec,
    cast(d.pixels_crc32 as bigint) as pixels_crc32
from split_examples as e
left join pairs as p on e.example_id = p.pair_id
left join decoded_images as d on e.image_id = d.image_id
