-- A row is one example that is neither in a split nor rejected, or both, or with a split or reason outside the closed lists.
-- reads: examples
-- params: none
select
    example_id as example_id,
    split as split,
    reject_reason as reject_reason
from examples
where
    (split is null) = (reject_reason is null)
    or split not in ('train', 'validation', 'test')
    or reject_reason not in (
        'malformed_line', 'no_locator', 'not_fetched', 'fetch_failed', 'not_decoded', 'image_rejected',
        'placeholder_image', 'empty_caption', 'short_caption', 'long_caption', 'duplicate_caption', 'leak'
    )
