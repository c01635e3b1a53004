-- A row is one distinct image that is to be captioned, or the reason why it is not: no_image_id (one row for all of them),
-- unknown_image, image_rejected, or known (this model captioned it, with these settings).
-- reads: asked_images (image_id: the rows of a person's query), images, captions
-- params: $model_id, $settings
with asked as (
    select
        image_id,
        count(*) as n_rows
    from asked_images
    group by image_id
),

known as (
    select distinct image_id
    from captions
    where model_id = $model_id and settings = $settings
)

select
    cast(asked.image_id as varchar) as image_id,
    cast(case
        when asked.image_id is null then 'no_image_id'
        when images.image_id is null then 'unknown_image'
        when images.reject_reason is not null then 'image_rejected'
        when known.image_id is not null then 'known'
    end as varchar) as skip_reason,
    cast(case when asked.image_id is null then asked.n_rows else 1 end as bigint) as n_rows
from asked
left join images on asked.image_id = images.image_id
left join known on asked.image_id = known.image_id
