-- A row is one caption that a model wrote for one image. Only ever appended to; an image has one row a model and settings.
create table captions (
    image_id varchar not null comment 'the image the caption is of',
    caption varchar not null comment 'the caption as text, without special tokens',
    score real not null comment 'log-probability in nats, divided by the number of generated tokens to the power of length_penalty',
    model varchar not null comment 'the folder the model was read from',
    model_id varchar not null comment 'first 128 bits of the SHA-256 of the model''s weights, sizes, normalisation and tokenizer, hex',
    settings varchar not null comment 'how the caption was written, as in generation_config.json, with the seed of draws and the precision; JSON',
    images_version bigint not null comment 'Delta version of images that the pixels were read from',
    captioned_at timestamp not null comment 'when the caption was written, UTC',
    primary key (image_id, model_id, settings)
) with (version = 2);
