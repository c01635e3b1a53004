-- A row is one pair of an image: its caption as crawled and as cleaned, the rules that changed it, and where the pair ended.
-- reads: examples, pairs
-- params: $image_id, $shown (how many)
select
    cast(examples.example_id as varchar) as example_id,
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
from examples
inner join pairs on examples.example_id = pairs.pair_id
where examples.image_id = $image_id
order by source, source_line, example_id
limit $shown
