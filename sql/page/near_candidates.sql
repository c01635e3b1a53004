-- A row is one image whose difference hash is nearly that of another, the nearest first.
-- reads: images
-- params: $image_id, $dhash (its hash), $bits (most that may differ), $shown (how many)
select
    cast(image_id as varchar) as image_id,
    cast(hamming(dhash, $dhash) as bigint) as bits
from images
where hamming(dhash, $dhash) <= $bits and image_id <> $image_id and reject_reason is null
order by bits, image_id
limit $shown
