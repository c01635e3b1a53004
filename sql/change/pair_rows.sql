-- A row is one of the pairs at hand: touched, or concerned.
-- reads: pairs, pairs_at_hand
-- params: none
select
    pairs.pair_id as pair_id,
    pairs.text as text,
    pairs.url as url,
    pairs.filename as filename,
    pairs.split_hint as split_hint,
    pairs.source as source,
    pairs.source_line as source_line,
    pairs.malformed as malformed
from pairs
left semi join pairs_at_hand on pairs.pair_id = pairs_at_hand.pair_id
