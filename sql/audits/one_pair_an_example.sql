-- A row is one example whose pair is not in the corpus.
-- reads: pairs, examples
-- params: none
select examples.example_id as example_id
from examples
left anti join pairs on examples.example_id = pairs.pair_id
