-- A row is one image of the train or the validation split, not itself concerned, that is near an image which came into a split held
-- out, or left it.
-- reads: near_images, near_used, concerned_images
-- params: none
select
    near_images.image_id as image_id,
    near_images.thumb as thumb,
    near_images.look as look
from near_images
left semi join near_used on near_images.image_id = near_used.image_id and near_used.split <> 'test'
left anti join concerned_images on near_images.image_id = concerned_images.image_id
where near_change(near_images.thumb, near_images.look)
