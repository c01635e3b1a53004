-- A row is one image for which near ones are looked for: concerned, or near a change of the splits held out.
-- reads: image_rows, near_changes
-- params: none
select
    cast(dhash as bigint) as dhash,
    thumb
from image_rows
where dhash is not null
union all
select
    cast(dhash as bigint) as dhash,
    thumb
from near_changes
