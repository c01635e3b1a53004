-- A row is one rule of caption cleaning, with how many captions it changes and one of them before and after.
-- reads: pairs
-- params: none
with changed as (
    select
        text,
        unnest(caption_rules(text)) as rule
    from pairs
)

select
    cast(rule as varchar) as rule,
    cast(count(*) as bigint) as captions,
    cast(min(text) as varchar) as an_example,
    cast(clean_caption(min(text)) as varchar) as its_clean_text
from changed
group by rule
order by captions desc, rule
