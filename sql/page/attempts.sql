-- A row is one attempt at one of some locators, or one that brought an image, the last first.
-- reads: originals
-- params: $image_id (null: none), $locators (a list), $shown (how many)
select
    cast(seq as bigint) as seq,
    cast(locator as varchar) as locator,
    cast(outcome as varchar) as outcome,
    cast(http_status as int) as http_status,
    cast(detail as varchar) as detail,
    cast(attempt as int) as attempt,
    cast(elapsed_ms as bigint) as elapsed_ms,
    cast(bytes_len as bigint) as bytes_len,
    cast(media_type as varchar) as media_type,
    cast(fetched_at as timestamp) as fetched_at,
    cast(next_try_at as timestamp) as next_try_at,
    cast(final_url as varchar) as final_url,
    cast(address as varchar) as address,
    cast(image_id as varchar) as image_id
from originals
where image_id = $image_id or array_has($locators, locator)
order by seq desc
limit $shown
