-- A row is one caption that a model wrote beside one that a person wrote for the same image, the model's surest first.
-- reads: captions, examples
-- params: none
select
    captions.image_id,
    examples.split,
    examples.text as human,
    captions.caption as model,
    examples.text = captions.caption as is_equal,
    captions.score,
    captions.model as model_folder
from captions
inner join examples on captions.image_id = examples.image_id
where examples.split is not null
order by captions.score desc, captions.image_id, examples.text
