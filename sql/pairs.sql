-- A row is one row of the source at hand that the corpus does not have yet.
-- reads: incoming (the rows just read, with pairs' columns), pairs
-- params: none
select
    cast(incoming.pair_id as varchar) as pair_id,
    cast(incoming.text as varchar) as text,
    cast(incoming.url as varchar) as url,
    cast(incoming.filename as varchar) as filename,
    cast(incoming.split_hint as varchar) as split_hint,
    cast(incoming.source as varchar) as source,
    cast(incoming.source_line as bigint) as source_line,
    cast(incoming.malformed as varchar) as malformed
from incoming
left anti join pairs on incoming.pair_id = pairs.pair_id
