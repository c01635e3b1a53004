-- A row is one example with what a condition of the gallery may ask of it: its columns, those of its image, and of its pair.
-- reads: examples, images, pairs
-- params: none
select
    examples.example_id as example_id,
    examples.image_id as image_id,
    examples.split as split,
    examples.text as text,
    examples.input_ids as input_ids,
    examples.n_tokens as n_tokens,
    examples.reject_reason as reject_reason,
    examples.near_group as near_group,
    images.width as width,
    images.height as height,
    images.format as format,
    images.color as color,
    images.orientation as orientation,
    images.frames as frames,
    images.dhash as dhash,
    pairs.text as raw_text,
    pairs.url as url,
    pairs.filename as filename,
    pairs.source as source,
    pairs.source_line as source_line
from examples
left join images on examples.image_id = images.image_id
left join pairs on examples.example_id = pairs.pair_id
