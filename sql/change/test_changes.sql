-- A row is one image that came into the test split or left it.
-- reads: used_images (of the concerned images), used_before, concerned_images, image_rows
-- params: none
with now_test as (
    select image_id
    from used_images
    where split = 'test'
),

before_test as (
    select used_before.image_id
    from used_before
    left semi join concerned_images on used_before.image_id = concerned_images.image_id
    where used_before.split = 'test'
),

changed as (
    select now_test.image_id
    from now_test
    left anti join before_test on now_test.image_id = before_test.image_id
    union all
    select before_test.image_id
    from before_test
    left anti join now_test on before_test.image_id = now_test.image_id
)

select
    image_rows.thumb as thumb,
    image_rows.look as look
from image_rows
left semi join changed on image_rows.image_id = changed.image_id
where image_rows.thumb is not null
