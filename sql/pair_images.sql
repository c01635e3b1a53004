-- A row is one pair with its clean caption, the image it got (from the image folder where the file was there, else from its URL), and
-- the split that it is for by the rule in force (split_of; see pipeline/etl/src/curate/split.rs).
-- reads: pairs, answers
-- params: none
with by_file as (
    select
        locator_key,
        image_id,
        image_fault
    from answers
    where is_file
),

by_url as (
    select
        locator_key,
        image_id,
        image_fault
    from answers
    where not is_file
),

located as (
    select
        pairs.pair_id,
        clean_caption(pairs.text) as text,
        pairs.text as raw_text,
        pairs.url,
        pairs.filename,
        pairs.split_hint,
        pairs.source,
        pairs.source_line,
        pairs.malformed is not null as is_malformed,
        pairs.url is null and pairs.filename is null as has_no_locator,
        by_file.locator_key is null and by_url.locator_key is null as is_not_fetched,
        coalesce(by_file.image_id, by_url.image_id) as image_id,
        case when by_file.image_id is null then by_url.image_fault else by_file.image_fault end as image_fault
    from pairs
    left join by_file on by_file.locator_key = id128('file:' || pairs.filename)
    left join by_url on by_url.locator_key = id128(pairs.url)
)

select
    cast(pair_id as varchar) as pair_id,
    cast(text as varchar) as text,
    cast(split_of(raw_text, url, filename, split_hint, source, source_line, image_id) as varchar) as split,
    cast(source as varchar) as source,
    cast(source_line as bigint) as source_line,
    cast(image_id as varchar) as image_id,
    cast(case
        when is_malformed then 'malformed_line'
        when has_no_locator then 'no_locator'
        when is_not_fetched then 'not_fetched'
        when image_id is null then 'fetch_failed'
        else image_fault
    end as varchar) as image_fault
from located
