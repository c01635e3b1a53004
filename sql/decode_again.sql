-- A row is one rejected image that is to be tried again: where in the log its bytes first stand.
-- reads: originals, images
-- params: $reasons (the reasons for which it was rejected)
select cast(min(originals.seq) as bigint) as seq
from originals
inner join images on originals.image_id = images.image_id
where originals.outcome = 'ok' and array_has($reasons, images.reject_reason)
group by originals.image_id
