-- A row is one image for which near ones are looked for: concerned, or near a change of the splits held out.
-- reads: image_rows, near_changes
-- params: none
select
    thumb,
    look
from image_rows
where thumb is not null
union all
select
    thumb,
    look
from near_changes
