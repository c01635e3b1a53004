-- A row is one example of a split, with what is known of its pair and its image, and its newest score (null if there is none): what --where of `tuwen export` may speak of.
-- reads: examples, pairs, images, scores
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
),

newest_first as (
    select
        example_id,
        image_id,
        text,
        loss,
        loss_without_image,
        row_number() over (
            partition by example_id, image_id, text
            order by scored_at desc, model_id asc, settings asc
        ) as place
    from scores
),

newest_scores as (
    select
        example_id,
        image_id,
        text,
        loss,
        loss_without_image
    from newest_first
    where place = 1
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
    cast(d.pixels_crc32 as bigint) as pixels_crc32,
    cast(n.loss as real) as loss,
    cast(n.loss_without_image as real) as loss_without_image,
    cast(n.loss_without_image - n.loss as real) as gain
from split_examples as e
left join pairs as p on e.example_id = p.pair_id
left join decoded_images as d on e.image_id = d.image_id
left join newest_scores as n on e.example_id = n.example_id and e.image_id = n.image_id and e.text = n.text
