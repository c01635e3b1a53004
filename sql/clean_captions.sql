-- A row is one pair with its clean caption and the first fault that the pair has by itself.
-- reads: pair_images
-- params: $min_chars, $max_chars, $placeholder_captions
with cleaned as (
    select
        pair_id,
        image_id,
        split_hint,
        source,
        source_line,
        image_fault,
        clean_caption(text) as text
    from pair_images
),

placeholders as (
    select image_id
    from cleaned
    where image_fault is null
    group by image_id
    having count(distinct text) > $placeholder_captions
)

select
    cast(cleaned.pair_id as varchar) as pair_id,
    cast(cleaned.image_id as varchar) as image_id,
    cast(cleaned.split_hint as varchar) as split_hint,
    cast(cleaned.source as varchar) as source,
    cast(cleaned.source_line as bigint) as source_line,
    cast(cleaned.text as varchar) as text,
    cast(case
        when cleaned.image_fault is not null then cleaned.image_fault
        when placeholders.image_id is not null then 'placeholder_image'
        when cleaned.text is null or cleaned.text = '' then 'empty_caption'
        when character_length(cleaned.text) < $min_chars then 'short_caption'
        when character_length(cleaned.text) > $max_chars then 'long_caption'
    end as varchar) as fault
from cleaned
left join placeholders on cleaned.image_id = placeholders.image_id
