-- A row is one row of a source (a CSV, TSV, JSON lines or Parquet file), malformed lines included.
-- Append-only; the same source ingested twice adds nothing, because pair_id is made from the row's content.
-- The same row in sources that are named for different splits (train.csv, test.csv) is a row for each of them.
create table pairs (
    pair_id varchar not null comment 'first 128 bits of the SHA-256 of (text, url, filename, k), hex; the URL as the source has it; k counts repetitions of the same row within one source, from 0; where a source for another split had the row first, of that id and the split that the name of this source says',
    text varchar comment 'the caption as crawled; null only in a malformed line',
    url varchar comment 'where the picture is said to be: as the source has it, but for blanks, invisible characters, &amp; and a missing https:; null if it has none',
    filename varchar comment 'the name of the file the picture was saved under; null if the source has none',
    split_hint varchar not null comment 'the split by the original''s rule: train if the file name (the URL where there is none) contains "train", otherwise test; what curate makes of it is curate.split''s',
    source varchar not null comment 'the file name of the source',
    source_line bigint not null comment 'the line of the source on which the row starts, from 1, a header included; in Parquet the number of the row',
    malformed varchar comment 'what is wrong with the line, and the line itself; null in a good row',
    primary key (pair_id)
) with (version = 2);
