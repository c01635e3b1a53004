-- A row is one example of a split, with the light columns of its image (null if that is not decoded): what a predicate of the stream may speak of.
-- reads: examples, images
-- params: $split
with

split_examples as (
    select
        e.example_id,
        e.image_id,
        e.split,
        e.text,
        e.input_ids,
        e.n_tokens
    from examples as e
    where e.split = $split
),

decoded_images as (
    select
        i.image_id,
        i.width,
        i.height,
        i.format,
        i.color,
        i.orientation,
        i.frames,
        i.dhash,
        i.size_px,
        i.codec
    from images as i
    where i.reject_reason is null
)

select
    cast(s.example_id as varchar) as example_id,
    cast(s.image_id as varchar) as image_id,
    cast(s.split as varchar) as split,
    cast(s.text as varchar) as text,
    s.input_ids as input_ids,
    cast(s.n_tokens as int) as n_tokens,
    cast(d.width as int) as width,
    cast(d.height as int) as height,
    cast(d.format as varchar) as format,
    cast(d.color as varchar) as color,
    cast(d.orientation as int) as orientation,
    cast(d.frames as int) as frames,
    cast(d.dhash as bigint) as dhash,
    cast(d.size_px as int) as size_px,
    cast(d.codec as varchar) as codec
from split_examples as s
left join decoded_images as d on s.image_id = d.image_id
