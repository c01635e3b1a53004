-- A row is one pair that does not have exactly one example, or an example without a pair; counted under keys, as answers are.
-- reads: pairs, examples
-- params: none
with sides as (
    select
        id_key(pair_id) as pair_key,
        1 as is_pair,
        0 as is_example
    from pairs
    union all
    select
        id_key(example_id) as pair_key,
        0 as is_pair,
        1 as is_example
    from examples
),

wrong as (
    select
        pair_key,
        sum(is_pair) as n_pairs,
        sum(is_example) as n_examples
    from sides
    group by pair_key
    having sum(is_pair) <> 1 or sum(is_example) <> 1
)

select
    pairs.pair_id as pair_id,
    wrong.n_pairs as n_pairs,
    wrong.n_examples as n_examples
from wrong
inner join pairs on wrong.pair_key = id_key(pairs.pair_id)
union
select
    examples.example_id as pair_id,
    wrong.n_pairs as n_pairs,
    wrong.n_examples as n_examples
from wrong
inner join examples on wrong.pair_key = id_key(examples.example_id)
