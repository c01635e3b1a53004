-- A row is one image, under its key, that several faultless pairs have, with their number: only among these can captions be
-- placeholders or repeated.
-- reads: pair_images
-- params: none
select
    id_key(image_id) as image_key,
    cast(count(*) as bigint) as n_pairs
from pair_images
where image_fault is null
group by id_key(image_id)
having count(*) > 1
