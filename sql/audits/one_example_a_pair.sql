-- A row is one pair that does not have exactly one example.
-- reads: pairs, examples
-- params: none
select
    pairs.pair_id as pair_id,
    count(examples.example_id) as n_examples
from pairs
left join examples on pairs.pair_id = examples.example_id
group by pairs.pair_id
having count(examples.example_id) <> 1
