-- A row is one locator that was asked for, under its key, and the image that its last good attempt brought; null if none did.
-- Keys stand for locators here because a million URLs do not fit where a million numbers do.
-- reads: originals
-- params: none
with last as (
    select
        id128(locator) as locator_key,
        bool_or(starts_with(locator, 'file:')) as is_file,
        max(case when outcome = 'ok' then seq end) as seq
    from originals
    group by id128(locator)
)

select
    last.locator_key as locator_key,
    last.is_file as is_file,
    cast(originals.image_id as varchar) as image_id
from last
left join originals on last.seq = originals.seq
