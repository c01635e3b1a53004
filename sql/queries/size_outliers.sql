-- A row is one picture of a size or shape that few have: its area or its width by height, in logarithms, lies beyond Tukey's fences
-- (1.5 times the middle half's range below or above it), with one of its captions.
-- reads: images, examples
-- params: none
with sized as (
    select
        image_id,
        width,
        height,
        format,
        ln(cast(width as double) * height) as area,
        ln(cast(width as double) / height) as shape
    from images
    where reject_reason is null
),

quartiles as (
    select
        approx_percentile_cont(0.25) within group (order by area) as area_25,
        approx_percentile_cont(0.75) within group (order by area) as area_75,
        approx_percentile_cont(0.25) within group (order by shape) as shape_25,
        approx_percentile_cont(0.75) within group (order by shape) as shape_75
    from sized
),

judged as (
    select
        image_id,
        width,
        height,
        format,
        case
            when area < area_25 - 1.5 * (area_75 - area_25) then 'small'
            when area > area_75 + 1.5 * (area_75 - area_25) then 'large'
            when shape < shape_25 - 1.5 * (shape_75 - shape_25) then 'tall'
            when shape > shape_75 + 1.5 * (shape_75 - shape_25) then 'wide'
        end as outlier
    from sized
    cross join quartiles
)

select
    judged.outlier as outlier,
    judged.image_id as image_id,
    judged.width as width,
    judged.height as height,
    judged.format as format,
    min(examples.text) as a_caption
from judged
left join examples on judged.image_id = examples.image_id
where judged.outlier is not null
group by judged.outlier, judged.image_id, judged.width, judged.height, judged.format
order by outlier, width * height, image_id
