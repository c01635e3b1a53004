-- A row is one script in which captions are written for the most part, with one of them. Of 10 letters at least one in kana makes
-- Japanese, since Japanese writes Chinese characters too.
-- reads: examples
-- params: none
with counted as (
    select
        text,
        split,
        regexp_count(text, '\p{Han}') as han,
        regexp_count(text, '[\p{Hiragana}\p{Katakana}]') as kana,
        regexp_count(text, '\p{Hangul}') as hangul,
        regexp_count(text, '\p{Latin}') as latin,
        regexp_count(text, '\p{Cyrillic}') as cyrillic,
        regexp_count(text, '\p{L}') as letters
    from examples
    where text is not null
),

judged as (
    select
        text,
        split,
        case
            when letters = 0 then 'no letters'
            when kana * 10 >= letters then 'Japanese'
            when han * 2 >= letters then 'Chinese'
            when hangul * 2 >= letters then 'Korean'
            when latin * 2 >= letters then 'Latin'
            when cyrillic * 2 >= letters then 'Cyrillic'
            else 'other or mixed'
        end as script
    from counted
)

select
    script as script,
    count(*) as captions,
    round(100.0 * count(*) / sum(count(*)) over (), 1) as percent,
    count(split) as in_splits,
    min(text) as an_example
from judged
group by script
order by captions desc, script
