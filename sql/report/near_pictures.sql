-- A row is one image of one of the largest groups of near-identical images, with one of its captions.
-- reads: examples
-- params: $groups (how many), $shown (images of each)
with members as (
    select near_group, image_id, left(min(text), 300) as text
    from examples
    where near_group is not null and split is not null
    group by near_group, image_id
),

sizes as (
    select near_group, count(*) as images
    from members
    group by near_group
    having count(*) > 1
    order by images desc, near_group
    limit $groups
),

numbered as (
    select
        members.near_group as near_group,
        sizes.images as images,
        members.text as text,
        members.image_id as image_id,
        row_number() over (partition by members.near_group order by members.image_id) as place
    from members
    inner join sizes on members.near_group = sizes.near_group
)

select
    near_group as near_group,
    cast(images as bigint) as images,
    text as text,
    image_id as image_id
from numbered
where place <= $shown
order by images desc, near_group, place
