-- A row is one image whose pairs are judged anew: new, or an image that a touched pair has or had.
-- reads: new_images, pair_images (of the touched pairs), touched_pairs, examples
-- params: none
select image_id
from new_images
union
select image_id
from pair_images
where image_id is not null
union
select examples.image_id
from examples
left semi join touched_pairs on examples.example_id = touched_pairs.pair_id
where examples.image_id is not null
