-- A row is one example's image and the split that its pair, which is without fault, wants it for, as it stands; an image may come several times.
-- reads: examples
-- params: none
select
    image_id,
    coalesce(split, 'train') as split
from examples
where split is not null or reject_reason = 'leak'
