-- A row is one pair that something new touches: it is new, one of its locators was asked for again, or its image is new.
-- reads: pairs, examples, new_pairs, new_originals, new_images
-- params: none
with new_locators as (
    select distinct locator
    from new_originals
),

with_new_image as (
    select examples.example_id
    from examples
    inner join new_images on examples.image_id = new_images.image_id
)

select
    pairs.pair_id as pair_id,
    pairs.text as text,
    pairs.url as url,
    pairs.filename as filename,
    pairs.split_hint as split_hint,
    pairs.source as source,
    pairs.source_line as source_line,
    pairs.malformed as malformed
from pairs
left join new_pairs on pairs.pair_id = new_pairs.pair_id
left join new_locators as by_url on pairs.url = by_url.locator
left join new_locators as by_file on by_file.locator = 'file:' || pairs.filename
left join with_new_image on pairs.pair_id = with_new_image.example_id
where
    new_pairs.pair_id is not null
    or by_url.locator is not null
    or by_file.locator is not null
    or with_new_image.example_id is not null
