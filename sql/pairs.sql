-- A row is one row of the source at hand that the corpus does not have yet. A row that a source for another split had first is a pair
-- of its own for the split that this source is named for, so that the order of sources decides nothing.
-- reads: incoming (the rows just read, with pairs' columns and split_pair_id, their id beside a pair of another split), pairs
-- params: none
with candidates as (
    select
        pair_id,
        pair_id as stored_id,
        false as is_of_split
    from incoming
    union all
    select
        pair_id,
        split_pair_id as stored_id,
        true as is_of_split
    from incoming
),

known as (
    select
        candidates.pair_id,
        bool_or(candidates.is_of_split) as has_split,
        max(case when not candidates.is_of_split then coalesce(split_named(pairs.source), '') end) as first_split
    from candidates
    inner join pairs on candidates.stored_id = pairs.pair_id
    group by candidates.pair_id
),

judged as (
    select
        incoming.*,
        known.pair_id is not null as is_known,
        known.first_split = coalesce(split_named(incoming.source), '') or known.has_split as is_in_split
    from incoming
    left join known on incoming.pair_id = known.pair_id
)

select
    cast(case when is_known then split_pair_id else pair_id end as varchar) as pair_id,
    cast(text as varchar) as text,
    cast(url as varchar) as url,
    cast(filename as varchar) as filename,
    cast(split_hint as varchar) as split_hint,
    cast(source as varchar) as source,
    cast(source_line as bigint) as source_line,
    cast(malformed as varchar) as malformed
from judged
where not is_known or not is_in_split
