-- A row is one row of a source CSV (`text,url,filename`), malformed lines included.
-- Append-only; the same CSV ingested twice adds nothing, because pair_id is made from the row's content.
create table pairs (
    pair_id varchar not null comment 'first 128 bits of the SHA-256 of (text, url, filename, k), hex; k counts repetitions of the same row within one CSV, from 0',
    text varchar comment 'the caption as crawled; null only in a malformed line',
    url varchar comment 'where the picture is said to be; null if the CSV has none',
    filename varchar comment 'the name of the file the picture was saved under; null if the CSV has none',
    split_hint varchar not null comment 'train or test: train if the file name (the URL where there is none) contains "train", otherwise test',
    source varchar not null comment 'the file name of the CSV',
    source_line bigint not null comment 'the line of the CSV on which the row starts, from 1; the header is line 1',
    malformed varchar comment 'what is wrong with the line, and the line itself; null in a good row',
    primary key (pair_id)
) with (version = 2);
