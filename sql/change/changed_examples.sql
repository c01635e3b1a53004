-- A row is one example that is new, or other than it was.
-- reads: made (the examples of concerned pairs), flipped, old_examples
-- params: none
with remade as (
    select * from made
    union all
    select * from flipped
)

select
    remade.example_id as example_id,
    remade.image_id as image_id,
    remade.split as split,
    remade.text as text,
    remade.input_ids as input_ids,
    remade.n_tokens as n_tokens,
    remade.reject_reason as reject_reason,
    remade.near_group as near_group,
    old.file as file,
    old.reject_reason as old_reason
from remade
left join old_examples as old on remade.example_id = old.example_id
where
    old.example_id is null
    or (remade.image_id is distinct from old.image_id)
    or (remade.split is distinct from old.split)
    or (remade.text is distinct from old.text)
    or (remade.reject_reason is distinct from old.reject_reason)
