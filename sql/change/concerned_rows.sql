-- A row is one pair that is judged anew.
-- reads: pairs, concerned_pairs
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
left semi join concerned_pairs on pairs.pair_id = concerned_pairs.pair_id
