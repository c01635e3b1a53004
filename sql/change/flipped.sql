-- A row is one example that turned into a leak or is none any more, because of what came into the test split or left it.
-- reads: examples, near_changes
-- params: none
with candidates as (
    select
        examples.example_id,
        examples.image_id,
        examples.text,
        examples.reject_reason = 'leak' as was_leak,
        near_test(near_changes.thumb, near_changes.look) as is_leak
    from examples
    inner join near_changes on examples.image_id = near_changes.image_id
    where examples.split = 'train' or examples.reject_reason = 'leak'
),

flipped as (
    select
        example_id,
        image_id,
        text,
        is_leak,
        case when not is_leak then tokenize(text) end as input_ids
    from candidates
    where coalesce(was_leak, false) <> is_leak
)

select
    cast(example_id as varchar) as example_id,
    cast(image_id as varchar) as image_id,
    cast(case when not is_leak then 'train' end as varchar) as split,
    cast(text as varchar) as text,
    input_ids as input_ids,
    cast(array_length(input_ids) as int) as n_tokens,
    cast(case when is_leak then 'leak' end as varchar) as reject_reason
from flipped
