-- A row is one example of the files that are rewritten: as it was, or as it is now; and each new one.
-- reads: rewritten_files (the examples of those files), changed_examples
-- params: none
select
    kept.example_id as example_id,
    kept.image_id as image_id,
    kept.split as split,
    kept.text as text,
    kept.input_ids as input_ids,
    kept.n_tokens as n_tokens,
    kept.reject_reason as reject_reason,
    kept.near_group as near_group
from rewritten_files as kept
left anti join changed_examples on kept.example_id = changed_examples.example_id
union all
select
    example_id,
    image_id,
    split,
    text,
    input_ids,
    n_tokens,
    reject_reason,
    near_group
from changed_examples
