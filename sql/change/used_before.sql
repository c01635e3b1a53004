-- A row is one example, whose image's thumbnail is near that of one at hand, and the split that its pair, which is without fault, wants
-- it for, as it stands; whether it was left out as a leak. An image may come several times.
-- reads: near_examples, pairs
-- params: none
select
    near_examples.example_id as example_id,
    near_examples.image_id as image_id,
    near_examples.split as split,
    near_examples.text as text,
    false as was_leak
from near_examples
where near_examples.split is not null
union all
select
    near_examples.example_id as example_id,
    near_examples.image_id as image_id,
    split_of(
        pairs.text, pairs.url, pairs.filename, pairs.split_hint, pairs.source, pairs.source_line, near_examples.image_id
    ) as split,
    near_examples.text as text,
    true as was_leak
from near_examples
inner join pairs on near_examples.example_id = pairs.pair_id
where near_examples.split is null
