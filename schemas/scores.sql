-- A row is one model's loss on one example, with its image and without. Only ever appended to; an example has one row a model and settings for each
-- caption and image that it has had.
create table scores (
    example_id varchar not null comment 'the example that was scored',
    image_id varchar not null comment 'the image it had then',
    text varchar not null comment 'the clean caption it had then',
    n_tokens int not null comment 'tokens of the caption that the losses are means over, special ones included',
    loss real not null comment 'mean cross-entropy of the caption''s tokens, given its image, in nats a token',
    loss_without_image real not null comment 'the same, given the mean of what the encoder makes of a sample of the corpus''s pictures, in nats a token',
    model varchar not null comment 'the folder the model was read from',
    model_id varchar not null comment 'first 128 bits of the SHA-256 of the model''s weights, sizes, normalisation and tokenizer, hex',
    settings varchar not null comment 'what else the losses depend on: the length to which captions are cut, the picture in place of the image, and the precision; JSON',
    examples_version bigint not null comment 'Delta version of examples that the tokens were read from',
    images_version bigint not null comment 'Delta version of images that the pixels were read from',
    scored_at timestamp not null comment 'when the example was scored, UTC',
    primary key (example_id, image_id, text, model_id, settings)
) with (version = 2);
