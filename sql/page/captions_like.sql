-- A row is one example whose clean caption has a text in it, whatever the case of its letters.
-- reads: examples
-- params: $pattern (as LIKE has it)
select cast(example_id as varchar) as example_id
from examples
where text ilike $pattern
