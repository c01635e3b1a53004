-- A row is one image, under its key, that more different captions stand beside than would if it showed something: a placeholder of
-- a shop, say.
-- reads: pair_images, shared_images
-- params: $placeholder_captions
select shared_images.image_key as image_key
from shared_images
inner join pair_images on shared_images.image_key = id_key(pair_images.image_id)
where shared_images.n_pairs > $placeholder_captions and pair_images.image_fault is null
group by shared_images.image_key
having count(distinct id128(pair_images.text)) > $placeholder_captions
