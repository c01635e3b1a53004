-- A row is one outcome of the attempts that a wave made: how many, the bytes that came, the bytes brought (of a compressed file as it is
-- unpacked, where that is more than came), and the latest time at which one of them is due again that a run waits for
-- (what was left alone was no try).
-- reads: originals
-- params: $first_seq (the wave's first attempt), $attempts (how often to try), $until (what is due later is for another run)
select
    outcome,
    count(*) as n_attempts,
    cast(sum(coalesce(wire_bytes, 0)) as bigint) as wire_bytes,
    cast(sum(greatest(coalesce(wire_bytes, 0), coalesce(bytes_len, 0))) as bigint) as brought_bytes,
    max(case when (outcome = 'host_down' or attempt < $attempts) and next_try_at <= $until then next_try_at end) as next_try_at
from originals
where seq >= $first_seq
group by outcome
