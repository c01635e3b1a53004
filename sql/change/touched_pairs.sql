-- A row is one pair that something new touches: it is new, one of its locators was asked for again, or its image is new.
-- reads: pairs, examples, new_pairs, new_originals, new_images
-- params: none
with new_urls as (
    select distinct locator
    from new_originals
    where not starts_with(locator, 'file:')
),

new_files as (
    select distinct substr(locator, 6) as filename
    from new_originals
    where starts_with(locator, 'file:')
)

select pair_id
from new_pairs
union
select pairs.pair_id
from pairs
left semi join new_urls on pairs.url = new_urls.locator
union
select pairs.pair_id
from pairs
left semi join new_files on pairs.filename = new_files.filename
union
select examples.example_id as pair_id
from examples
left semi join new_images on examples.image_id = new_images.image_id
