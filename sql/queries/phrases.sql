-- A row is one phrase of four words that several captions have; a Chinese character counts as a word. The hundred most common.
-- reads: examples
-- params: none
with worded as (
    -- A separator after each Chinese character, and after each other word with the blank behind it.
    select
        example_id,
        string_to_array(
            regexp_replace(text, '(\p{Han}|[^\p{Han} ]+ ?| )', '$1' || chr(31), 'g'),
            chr(31)
        ) as words
    from examples
    where split is not null
),

placed as (
    select
        example_id,
        words,
        unnest(range(1, cast(array_length(words) as bigint) - 3)) as place
    from worded
),

phrases as (
    select
        example_id,
        trim(array_to_string(array_slice(words, place, place + 3), '')) as phrase
    from placed
)

select
    phrase as phrase,
    count(distinct example_id) as captions
from phrases
group by phrase
having count(distinct example_id) > 1
order by captions desc, phrase
limit 100
