-- A row is one image that came into a split held out, or left it.
-- reads: used_images (of the concerned images), used_before, concerned_images, image_rows
-- params: none
with held_out_now as (
    select
        image_id,
        split
    from used_images
    where split <> 'train'
),

held_out_before as (
    select
        used_before.image_id,
        used_before.split
    from used_before
    left semi join concerned_images on used_before.image_id = concerned_images.image_id
    where used_before.split <> 'train'
),

changed as (
    select held_out_now.image_id
    from held_out_now
    left anti join held_out_before
        on held_out_now.image_id = held_out_before.image_id and held_out_now.split = held_out_before.split
    union all
    select held_out_before.image_id
    from held_out_before
    left anti join held_out_now
        on held_out_before.image_id = held_out_now.image_id and held_out_before.split = held_out_now.split
)

select
    image_rows.thumb as thumb,
    image_rows.look as look
from image_rows
left semi join changed on image_rows.image_id = changed.image_id
where image_rows.thumb is not null
