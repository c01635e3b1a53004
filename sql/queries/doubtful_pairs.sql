-- A row is one example that a model scored, the doubtful ones first. The gain is by how many nats a token the image makes the caption likelier:
-- about zero or below, the caption may not be the image's. Of several scores of an example the newest counts, of the caption and image it has now.
-- reads: scores, examples, pairs
-- params: none
with newest_first as (
    select
        example_id,
        image_id,
        text,
        loss,
        loss_without_image,
        model,
        row_number() over (
            partition by example_id, image_id, text
            order by scored_at desc, model_id asc, settings asc
        ) as place
    from scores
)

select
    cast(s.loss_without_image - s.loss as real) as gain,
    s.loss as loss,
    s.loss_without_image as loss_without_image,
    examples.split as split,
    s.text as text,
    pairs.url as url,
    pairs.filename as filename,
    s.example_id as example_id,
    s.image_id as image_id,
    s.model as model_folder
from newest_first as s
inner join examples
    on s.example_id = examples.example_id
    and s.image_id = examples.image_id
    and s.text = examples.text
inner join pairs on s.example_id = pairs.pair_id
where s.place = 1 and examples.split is not null
order by gain, s.example_id
