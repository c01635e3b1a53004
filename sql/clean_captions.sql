-- A row is one pair with its clean caption, and the first fault that the pair has by itself.
-- reads: pair_images, placeholder_images
-- params: $min_chars, $max_chars
select
    cast(pair_images.pair_id as varchar) as pair_id,
    cast(pair_images.image_id as varchar) as image_id,
    cast(pair_images.split as varchar) as split,
    cast(pair_images.source as varchar) as source,
    cast(pair_images.source_line as bigint) as source_line,
    cast(pair_images.text as varchar) as text,
    cast(case
        when pair_images.image_fault is not null then pair_images.image_fault
        when placeholder_images.image_key is not null then 'placeholder_image'
        when pair_images.text is null or pair_images.text = '' then 'empty_caption'
        when character_length(pair_images.text) < $min_chars then 'short_caption'
        when character_length(pair_images.text) > $max_chars then 'long_caption'
    end as varchar) as fault
from pair_images
left join placeholder_images on placeholder_images.image_key = id_key(pair_images.image_id)
