-- A row is one pair that is judged anew: touched, or of a concerned image.
-- reads: touched_pairs, concerned_images, examples
-- params: none
select pair_id
from touched_pairs
union
select examples.example_id as pair_id
from examples
left semi join concerned_images on examples.image_id = concerned_images.image_id
