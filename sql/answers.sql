-- A row is one locator that was asked for, under its key, and the image that its last good attempt brought, null if none did; with the
-- image's fault, null if it is decoded. Keys stand for locators here because a million URLs do not fit where a million numbers do.
-- reads: originals, images
-- params: none
with last as (
    select
        id128(locator) as locator_key,
        bool_or(starts_with(locator, 'file:')) as is_file,
        max(case when outcome = 'ok' then seq end) as seq
    from originals
    group by id128(locator)
),

answered as (
    select
        last.locator_key,
        last.is_file,
        originals.image_id
    from last
    left join originals on last.seq = originals.seq
),

known as (
    select
        id_key(image_id) as image_key,
        reject_reason is not null as is_rejected
    from images
)

select
    answered.locator_key as locator_key,
    answered.is_file as is_file,
    cast(answered.image_id as varchar) as image_id,
    cast(case
        when answered.image_id is null then null
        when known.image_key is null then 'not_decoded'
        when known.is_rejected then 'image_rejected'
    end as varchar) as image_fault
from known
right join answered on known.image_key = id_key(answered.image_id)
