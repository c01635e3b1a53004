-- A row is one pair: in a split with its tokens, or rejected with the first reason that applies.
-- reads: captions, leaks
-- params: none
with ranked as (
    select
        pair_id,
        row_number() over (
            partition by image_id, split_hint, text order by source, source_line, pair_id
        ) as place
    from captions
    where fault is null
),

judged as (
    select
        captions.pair_id,
        captions.image_id,
        captions.split_hint,
        captions.text,
        case
            when captions.fault is not null then captions.fault
            when ranked.place > 1 then 'duplicate_caption'
            when leaks.image_id is not null and captions.split_hint = 'train' then 'leak'
        end as reject_reason
    from captions
    left join ranked on captions.pair_id = ranked.pair_id
    left join leaks on captions.image_id = leaks.image_id
),

tokenised as (
    select
        pair_id,
        image_id,
        split_hint,
        text,
        reject_reason,
        case when reject_reason is null then tokenize(text) end as input_ids
    from judged
)

select
    cast(pair_id as varchar) as example_id,
    cast(image_id as varchar) as image_id,
    cast(case when reject_reason is null then split_hint end as varchar) as split,
    cast(text as varchar) as text,
    input_ids as input_ids,
    cast(array_length(input_ids) as int) as n_tokens,
    cast(reject_reason as varchar) as reject_reason
from tokenised
