-- A row is one pair, as `picture_pairs` has it; where it ended is null before curate has run.
-- reads: pairs, examples
-- params: $example_id
select
    cast(pairs.pair_id as varchar) as example_id,
    cast(examples.image_id as varchar) as image_id,
    cast(pairs.source as varchar) as source,
    cast(pairs.source_line as bigint) as source_line,
    cast(pairs.url as varchar) as url,
    cast(pairs.filename as varchar) as filename,
    cast(pairs.malformed as varchar) as malformed,
    cast(pairs.text as varchar) as raw,
    cast(examples.text as varchar) as clean,
    cast(array_to_string(caption_rules(pairs.text), ' ') as varchar) as rules,
    cast(examples.split as varchar) as split,
    cast(examples.reject_reason as varchar) as reject_reason,
    cast(examples.n_tokens as int) as n_tokens,
    cast(examples.near_group as varchar) as near_group
from pairs
left join examples on pairs.pair_id = examples.example_id
where pairs.pair_id = $example_id
