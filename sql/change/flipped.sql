-- A row is one example that turned into a leak or is none any more, because of what came into a split held out or left it.
-- reads: used_before, near_changes
-- params: none
with candidates as (
    select
        used_before.example_id,
        used_before.image_id,
        used_before.split,
        used_before.text,
        used_before.was_leak,
        near_test(near_changes.thumb, near_changes.look)
        or (used_before.split = 'train' and near_validation(near_changes.thumb, near_changes.look)) as is_leak
    from used_before
    inner join near_changes on used_before.image_id = near_changes.image_id
    where used_before.split <> 'test'
),

flipped as (
    select
        example_id,
        image_id,
        split,
        text,
        is_leak,
        case when not is_leak then tokenize(text) end as input_ids
    from candidates
    where was_leak <> is_leak
)

select
    cast(example_id as varchar) as example_id,
    cast(image_id as varchar) as image_id,
    cast(case when not is_leak then split end as varchar) as split,
    cast(text as varchar) as text,
    input_ids as input_ids,
    cast(array_length(input_ids) as int) as n_tokens,
    cast(case when is_leak then 'leak' end as varchar) as reject_reason,
    cast(null as varchar) as near_group
from flipped
