-- A row is one pair: in a split with its tokens, or rejected with the first reason that applies.
-- reads: clean_captions, repeated_captions, leaks, near_groups
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
    cast(tokenised.pair_id as varchar) as example_id,
    cast(tokenised.image_id as varchar) as image_id,
    cast(case when tokenised.reject_reason is null then tokenised.split end as varchar) as split,
    cast(tokenised.text as varchar) as text,
    tokenised.input_ids as input_ids,
    cast(array_length(tokenised.input_ids) as int) as n_tokens,
    cast(tokenised.reject_reason as varchar) as reject_reason,
    cast(case
        when tokenised.reject_reason is null and tokenised.split = 'train' then near_groups.near_group
    end as varchar) as near_group
from tokenised
left join near_groups on tokenised.image_id = near_groups.image_id
