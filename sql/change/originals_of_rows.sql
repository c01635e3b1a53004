-- A row is one attempt to get a locator of the pairs at hand.
-- reads: pair_rows, originals
-- params: none
with locators as (
    select url as locator
    from pair_rows
    where url is not null
    union
    select 'file:' || filename as locator
    from pair_rows
    where filename is not null
)

select
    originals.seq as seq,
    originals.locator as locator,
    originals.image_id as image_id,
    originals.outcome as outcome
from originals
left semi join locators on originals.locator = locators.locator
