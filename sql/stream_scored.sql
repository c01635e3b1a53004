-- A row is one of stream_selection with the newest score of its example as it is now (null if there is none): what a predicate of the stream may
-- speak of that names a column of it.
-- reads: stream_selection, scores
-- params: none
with newest_first as (
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

newest as (
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
    cast(s.example_id as varchar) as example_id,
    cast(s.image_id as varchar) as image_id,
    cast(s.split as varchar) as split,
    cast(s.text as varchar) as text,
    s.input_ids as input_ids,
    cast(s.n_tokens as int) as n_tokens,
    cast(s.width as int) as width,
    cast(s.height as int) as height,
    cast(s.format as varchar) as format,
    cast(s.color as varchar) as color,
    cast(s.orientation as int) as orientation,
    cast(s.frames as int) as frames,
    cast(s.dhash as bigint) as dhash,
    cast(s.size_px as int) as size_px,
    cast(s.codec as varchar) as codec,
    cast(n.loss as real) as loss,
    cast(n.loss_without_image as real) as loss_without_image,
    cast(n.loss_without_image - n.loss as real) as gain
from stream_selection as s
left join newest as n on s.example_id = n.example_id and s.image_id = n.image_id and s.text = n.text
