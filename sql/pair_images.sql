-- A row is one pair and the image it got: from the image folder where the file was there, else from its URL.
-- reads: pairs, originals, images
-- params: none
with attempts as (
    select
        locator,
        image_id,
        row_number() over (partition by locator order by outcome <> 'ok', seq desc) as place
    from originals
),

answers as (
    select
        locator,
        image_id
    from attempts
    where place = 1
),

located as (
    select
        pairs.pair_id,
        pairs.text,
        pairs.split_hint,
        pairs.source,
        pairs.source_line,
        pairs.malformed is not null as is_malformed,
        pairs.url is null and pairs.filename is null as has_no_locator,
        by_file.locator is null and by_url.locator is null as is_not_fetched,
        coalesce(by_file.image_id, by_url.image_id) as image_id
    from pairs
    left join answers as by_file on by_file.locator = 'file:' || pairs.filename
    left join answers as by_url on by_url.locator = pairs.url
)

select
    cast(located.pair_id as varchar) as pair_id,
    cast(located.text as varchar) as text,
    cast(located.split_hint as varchar) as split_hint,
    cast(located.source as varchar) as source,
    cast(located.source_line as bigint) as source_line,
    cast(located.image_id as varchar) as image_id,
    cast(case
        when located.is_malformed then 'malformed_line'
        when located.has_no_locator then 'no_locator'
        when located.is_not_fetched then 'not_fetched'
        when located.image_id is null then 'fetch_failed'
        when images.image_id is null then 'not_decoded'
        when images.reject_reason is not null then 'image_rejected'
    end as varchar) as image_fault
from located
left join images on located.image_id = images.image_id
