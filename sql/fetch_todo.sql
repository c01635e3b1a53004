-- A row is one locator to ask for, with how often it was asked for before, how often of those counts as a try, and its place in the
-- order of asking.
-- reads: pairs (those that may not have been asked for), originals
-- params: $from_files (files of an image folder by the pairs' file names, else URLs), $now, $due_since (what became due before was
-- asked for already; null: it is among the pairs), $may_pass (the outcomes whose reason may pass), $uncounted (those of them that are
-- no try), $attempts (how often to try), $retry_all and $retry (which other failures to try again), $refresh (what is there is asked
-- for as well), $asked_before (of what is tried again and refreshed only what was last asked for before; null: all), $first_seq (and
-- not in this run, whose first attempt this is)
with wanted as (
    select case when $from_files then 'file:' || filename else url end as locator
    from pairs
    where case when $from_files then filename else url end is not null
    union
    -- What has become due is asked for again, whenever its pair came.
    select locator
    from originals
    where
        coalesce(next_try_at, fetched_at) between $due_since and $now
        and array_has($may_pass, outcome)
        and starts_with(locator, 'file:') = $from_files
),

tried as (
    select
        wanted.locator as locator,
        max(originals.attempt) as attempts,
        count(case when not array_has($uncounted, originals.outcome) then originals.seq end) as n_tries,
        bool_or(originals.outcome = 'ok') as got,
        max(originals.seq) as last_seq,
        max(case when originals.outcome = 'ok' then originals.seq end) as ok_seq,
        max(case when array_has($may_pass, originals.outcome) then originals.seq end) as may_pass_seq,
        max(case when $retry_all or array_has($retry, originals.outcome) then originals.seq end) as retry_seq,
        max(coalesce(originals.next_try_at, originals.fetched_at)) as due_at,
        max(originals.fetched_at) as asked_at
    from wanted
    left join originals on wanted.locator = originals.locator
    group by wanted.locator
),

todo as (
    select *
    from tried
    where
        attempts is null
        or (not got and may_pass_seq = last_seq and n_tries < $attempts and due_at <= $now)
        or (
            (case when got then $refresh else retry_seq = last_seq end)
            and ($asked_before is null or asked_at < $asked_before)
            and last_seq < $first_seq
        )
),

validators as (
    select
        seq,
        etag,
        last_modified
    from originals
    where etag is not null or last_modified is not null
)

select
    cast(todo.locator as varchar) as locator,
    cast(coalesce(todo.attempts, 0) as int) as attempts,
    -- By these the waits grow.
    cast(todo.n_tries as int) as n_tries,
    -- By these the server tells whether the picture that is there is still its own.
    cast(validators.etag as varchar) as etag,
    cast(validators.last_modified as varchar) as last_modified,
    -- Rows of one host stand together in a crawl; a hash spreads the requests over the hosts, the same way each time.
    cast(case when $from_files then todo.locator else md5(todo.locator) end as varchar) as place
from todo
left join validators on todo.ok_seq = validators.seq
