-- A row is one faultless pair whose caption stands beside the same image in the same split before: in an earlier source, or further up.
-- reads: clean_captions, shared_images
-- params: none
with ranked as (
    select
        clean_captions.pair_id,
        row_number() over (
            partition by clean_captions.image_id, clean_captions.split, clean_captions.text
            order by clean_captions.source, clean_captions.source_line, clean_captions.pair_id
        ) as place
    from shared_images
    inner join clean_captions on shared_images.image_key = id_key(clean_captions.image_id)
    where clean_captions.fault is null
)

select cast(pair_id as varchar) as pair_id
from ranked
where place > 1
