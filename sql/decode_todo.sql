-- A row is one distinct original that has no row in images yet: where in the log its bytes first stand.
-- reads: originals, images
-- params: none
with firsts as (
    select
        image_id,
        min(seq) as seq
    from originals
    where outcome = 'ok'
    group by image_id
),

todo as (
    select
        firsts.seq as seq
    from firsts
    left anti join images on firsts.image_id = images.image_id
)

select
    cast(seq as bigint) as seq
from todo
