-- A row is one pair: in a split, or rejected with the reason. Brought up to date by curate, which never reads pixels.
create table examples (
    example_id varchar not null comment 'the pair''s pair_id',
    image_id varchar comment 'the image the caption belongs to; null if none was got',
    split varchar comment 'train, validation or test; null if rejected',
    text varchar comment 'the clean caption; null if the line was malformed',
    input_ids array<int> comment 'token ids of the clean caption, special tokens as the tokenizer puts them; null if rejected',
    n_tokens int comment 'length of input_ids; null if rejected',
    reject_reason varchar comment 'null if the pair is in a split, otherwise why not',
    near_group varchar comment 'the smallest image_id among the near-identical images of train that this pair''s image is one of; null if there are none, outside train, and where curate.group_near was not set',
    primary key (example_id)
) with (version = 3);
