-- A row is one example as it stood, of a pair that was judged anew or whose image turned into a leak or back.
-- reads: examples_in_files (examples, each with the file it stands in), made (the examples of concerned pairs), flipped
-- params: none
with remade as (
    select example_id from made
    union all
    select example_id from flipped
)

select
    examples_in_files.example_id as example_id,
    examples_in_files.image_id as image_id,
    examples_in_files.split as split,
    examples_in_files.text as text,
    examples_in_files.reject_reason as reject_reason,
    examples_in_files.file as file
from examples_in_files
left semi join remade on examples_in_files.example_id = remade.example_id
