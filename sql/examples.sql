-- A row is one pair: in a split with its tokens, or rejected with the first reason that applies.
-- reads: clean_captions, repeated_captions, leaks
-- params: none
with judged as (
    select
        clean_captions.pair_id,
        clean_captions.image_id,
        clean_captions.split,
        clean_captions.text,
        case
            when clean_captions.fault is not null then clean_captions.fault
            when repeated_captions.pair_id is not null then 'duplicate_caption'
            when
                clean_captions.split = 'train' and leaks.image_id is not null
                or clean_captions.split = 'validation' and leaks.split = 'test' then 'leak'
        end as reject_reason
    from clean_captions
    left join repeated_captions on clean_captions.pair_id = repeated_captions.pair_id
    left join leaks on clean_captions.image_id = leaks.image_id
),

tokenised as (
    select
        pair_id,
        image_id,
        split,
        text,
        reject_reason,
        case when reject_reason is null then tokenize(text) end as input_ids
    from judged
)

select
    cast(pair_id as varchar) as example_id,
    cast(image_id as varchar) as image_id,
    cast(case when reject_reason is null then split end as varchar) as split,
    cast(text as varchar) as text,
    input_ids as input_ids,
    cast(array_length(input_ids) as int) as n_tokens,
    cast(reject_reason as varchar) as reject_reason
from tokenised
