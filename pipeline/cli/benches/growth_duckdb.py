"""DuckDB doing what curation does, on the same files, for `growth.py`. In: a corpus, and a Parquet file to write. Out: that file,
with a row a pair, and as the last line of stdout one JSON object: the rows by reason.

The files are those that the Delta logs say are live. The statement is sql/answers.sql, pair_images.sql, clean_captions.sql,
used_images.sql, leaks.sql and examples.sql in one: the latest good answer of each locator, the image of each pair, why an image is
none, the pairs of each image, which of repeated captions counts, images that both splits have to the byte. Left out is what DuckDB
has no function for: captions are as crawled (not cleaned), not tokenised, and no near-identical images are looked for; nor are
there audits, nor a commit. DuckDB plans as it likes, with its default settings: all cores, four fifths of the memory.
"""
import json
import pathlib
import sys

import duckdb
import pyarrow.parquet

JUDGE = """
copy (
    with answers as (
        select locator, starts_with(locator, 'file:') as is_file, arg_max(image_id, seq) filter (where outcome = 'ok') as image_id
        from originals
        group by locator
    ),

    located as (
        select
            pairs.pair_id, pairs.text, pairs.split_hint, pairs.source, pairs.source_line,
            pairs.malformed is not null as is_malformed,
            pairs.url is null and pairs.filename is null as has_no_locator,
            by_file.locator is null and by_url.locator is null as is_not_fetched,
            coalesce(by_file.image_id, by_url.image_id) as image_id
        from pairs
        left join answers as by_file on 'file:' || pairs.filename = by_file.locator and by_file.is_file
        left join answers as by_url on pairs.url = by_url.locator and not by_url.is_file
    ),

    pair_images as (
        select
            located.*,
            case
                when located.is_malformed then 'malformed_line'
                when located.has_no_locator then 'no_locator'
                when located.is_not_fetched then 'not_fetched'
                when located.image_id is null then 'fetch_failed'
                when images.image_id is null then 'not_decoded'
                when images.reject_reason is not null then 'image_rejected'
            end as image_fault
        from located
        left join images on located.image_id = images.image_id
    ),

    shared as (
        select image_id, count(*) as n_pairs
        from pair_images
        where image_fault is null
        group by image_id
        having count(*) > 1
    ),

    placeholders as (
        select pair_images.image_id
        from pair_images
        inner join shared on pair_images.image_id = shared.image_id
        where pair_images.image_fault is null and shared.n_pairs > 10
        group by pair_images.image_id
        having count(distinct pair_images.text) > 10
    ),

    judged as (
        select
            pair_images.*,
            case
                when image_fault is not null then image_fault
                when placeholders.image_id is not null then 'placeholder_image'
                when text is null or text = '' then 'empty_caption'
                when length(text) < 2 then 'short_caption'
                when length(text) > 200 then 'long_caption'
            end as fault
        from pair_images
        left join placeholders on pair_images.image_id = placeholders.image_id
    ),

    repeated as (
        select judged.pair_id
        from judged
        inner join shared on judged.image_id = shared.image_id
        where judged.fault is null
        qualify row_number() over (
            partition by judged.image_id, judged.split_hint, judged.text
            order by judged.source, judged.source_line, judged.pair_id
        ) > 1
    ),

    leaks as (
        select image_id
        from judged
        where fault is null
        group by image_id
        having count(distinct split_hint) > 1
    ),

    reasoned as (
        select
            judged.*,
            case
                when judged.fault is not null then judged.fault
                when repeated.pair_id is not null then 'duplicate_caption'
                when leaks.image_id is not null and judged.split_hint = 'train' then 'leak'
            end as reject_reason
        from judged
        left join repeated on judged.pair_id = repeated.pair_id
        left join leaks on judged.image_id = leaks.image_id
    )

    select
        pair_id as example_id,
        image_id,
        case when reject_reason is null then split_hint end as split,
        text,
        reject_reason
    from reasoned
) to '{out}' (format parquet, compression zstd)
"""


def live_files(table):
    """The data files of a Delta table's newest version: its last checkpoint, and the commits after it."""
    log, live, first = table / "_delta_log", {}, 0
    if (log / "_last_checkpoint").exists():
        version = json.loads((log / "_last_checkpoint").read_text())["version"]
        for checkpoint in log.glob(f"{version:020}.checkpoint*.parquet"):
            for add in pyarrow.parquet.ParquetFile(checkpoint).read(["add.path"])["add"].to_pylist():
                if add and add["path"]:
                    live[add["path"]] = True
        first = version + 1
    for commit in sorted(log.glob("*.json")):
        if int(commit.stem) < first:
            continue
        for action in map(json.loads, commit.read_text().splitlines()):
            if "add" in action:
                live[action["add"]["path"]] = True
            elif "remove" in action:
                live.pop(action["remove"]["path"], None)
    return [str(table / path) for path in live]


def main():
    corpus, out = map(pathlib.Path, sys.argv[1:])
    connection = duckdb.connect()
    for table in ("pairs", "originals", "images"):
        connection.read_parquet(live_files(corpus / table)).create_view(table)
    connection.execute(JUDGE.format(out=str(out).replace("'", "''")))
    reasons = connection.execute(
        f"select coalesce(reject_reason, ''), count(*) from read_parquet('{out}') group by all order by all"
    )
    print(json.dumps(dict(reasons.fetchall())))


if __name__ == "__main__":
    main()
