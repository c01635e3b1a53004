-- A row is one image of the train split that the test split has too, to the byte or nearly.
-- Two images are near if their difference hashes differ in at most $near_bits of 64 bits and their thumbnails by at most
-- $near_levels of 255 on average. They are compared if they share the whole hash or a quarter of it that tells something
-- (near_keys): of four quarters at least one is equal when no more than three bits differ.
-- reads: clean_captions, images
-- params: $near_bits, $near_levels
with used as (
    select distinct
        image_id,
        split_hint
    from clean_captions
    where fault is null
),

split_images as (
    select
        used.image_id,
        used.split_hint,
        images.dhash,
        images.thumb
    from used
    inner join images on used.image_id = images.image_id
),

keyed as (
    select
        image_id,
        split_hint,
        dhash,
        thumb,
        unnest(near_keys(dhash)) as near_key
    from split_images
),

identical as (
    select train.image_id
    from split_images as train
    inner join split_images as test on train.image_id = test.image_id
    where train.split_hint = 'train' and test.split_hint = 'test'
),

near as (
    select train.image_id
    from keyed as train
    inner join keyed as test on train.near_key = test.near_key
    where
        train.split_hint = 'train'
        and test.split_hint = 'test'
        and hash_distance(train.dhash, test.dhash) <= $near_bits
        and thumb_distance(train.thumb, test.thumb) <= $near_levels
)

select cast(image_id as varchar) as image_id from identical
union
select cast(image_id as varchar) as image_id from near
