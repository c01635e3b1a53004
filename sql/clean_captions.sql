-- A row is one pair with its clean caption, the first fault that the pair has by itself, and its place among the faultless pairs of
-- the same image, split and caption: 1 unless there are several.
-- reads: pair_images
-- params: $min_chars, $max_chars, $placeholder_captions
with shared as (
    select
        image_id,
        count(*) as n_pairs
    from pair_images
    where image_fault is null
    group by image_id
    having count(*) > 1
),

placeholders as (
    select pair_images.image_id
    from pair_images
    inner join shared on pair_images.image_id = shared.image_id
    where pair_images.image_fault is null and shared.n_pairs > $placeholder_captions
    group by pair_images.image_id
    having count(distinct id128(pair_images.text)) > $placeholder_captions
),

judged as (
    select
        pair_images.pair_id,
        pair_images.image_id,
        pair_images.split_hint,
        pair_images.source,
        pair_images.source_line,
        pair_images.text,
        case
            when pair_images.image_fault is not null then pair_images.image_fault
            when placeholders.image_id is not null then 'placeholder_image'
            when pair_images.text is null or pair_images.text = '' then 'empty_caption'
            when character_length(pair_images.text) < $min_chars then 'short_caption'
            when character_length(pair_images.text) > $max_chars then 'long_caption'
        end as fault
    from pair_images
    left join placeholders on pair_images.image_id = placeholders.image_id
),

ranked as (
    select
        judged.pair_id,
        row_number() over (
            partition by judged.image_id, judged.split_hint, judged.text
            order by judged.source, judged.source_line, judged.pair_id
        ) as place
    from judged
    inner join shared on judged.image_id = shared.image_id
    where judged.fault is null
),

repeated as (
    select
        pair_id,
        place
    from ranked
    where place > 1
)

select
    cast(judged.pair_id as varchar) as pair_id,
    cast(judged.image_id as varchar) as image_id,
    cast(judged.split_hint as varchar) as split_hint,
    cast(judged.text as varchar) as text,
    cast(judged.fault as varchar) as fault,
    cast(coalesce(repeated.place, 1) as bigint) as place
from judged
left join repeated on judged.pair_id = repeated.pair_id
