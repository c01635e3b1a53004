-- A row is one example of a split whose tokens are missing, too many, or not as many as n_tokens says.
-- reads: examples
-- params: $max_length
select
    example_id as example_id,
    n_tokens as n_tokens
from examples
where
    split is not null
    and (n_tokens is null or n_tokens < 1 or n_tokens > $max_length or n_tokens <> array_length(input_ids))
