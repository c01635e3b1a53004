"""What questions cost that people ask of a corpus, beside DuckDB on the same files. In: nothing; `--pairs 20000 --rounds 2` is a try of a
minute. Out: a table on stderr, and as the last line of stdout one JSON object:

* `scan_ratio_parquet`: geometric mean over `QUERIES` of tuwen's time over DuckDB's on the Parquet files that the Delta logs say are
  live; `scan_ratio_delta`: the same with DuckDB's extension `delta`, which reads the logs itself as tuwen does; null where that
  extension is not to be had.
* `near_ratio`: the same for `NEAR`, pairs of images whose difference hashes differ in few bits, over a part of the images.
* `select_1_ms`: `tuwen sql "select 1"`, the whole process from its start to its end.
* `queries`: of each query the medians in seconds, and `spread`, tuwen's smallest and largest.

The corpus is that of `growth.py`, made by `benches/growth_corpus` and curated once; every file of its tables was read before. Each
round is one process of each engine, in turns; each asks all queries twice, and the second time counts. A query's seconds are its own,
from the text to the last row: neither the start of a process nor the opening of the corpus is in them, for none of the engines. The
rows must be the same, or the bench fails. Both have all cores; DuckDB has its default settings.
"""
import argparse
import json
import math
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys

from growth import CACHE, curated
from growth_duckdb import live_files
from growth_work import HERE, Work, build, say, warm
from peers.environment import python_with
from sql_duckdb import cells

TABLES = ["pairs", "originals", "images", "examples"]

# Scans, aggregates, joins and sorts of what is not pixels. Both engines read the same text.
QUERIES = {
    "reasons": "select split, reject_reason, count(*) as n from examples group by split, reject_reason",
    "sources": "select source, count(*) as n, count(url) as urls, count(distinct split_hint) as hints from pairs group by source",
    "like": "select count(*) as n from pairs where text like '%猫%'",
    "lengths": "select avg(character_length(text)) as mean, max(character_length(text)) as most from pairs",
    "top_texts": "select text, count(*) as n from pairs group by text having count(*) > 20",
    "hosts": "select split_part(url, '/', 3) as host, count(*) as n from pairs group by split_part(url, '/', 3)",
    "formats": "select format, count(*) as n, avg(width) as width, avg(height) as height from images group by format",
    "outcomes": "select outcome, media_type, count(*) as n, avg(bytes_len) as bytes from originals group by outcome, media_type",
    "large": "select count(*) as n from examples inner join images on examples.image_id = images.image_id "
             "where images.width > 600 and examples.split = 'train'",
    "unused": "select count(*) as n from images where image_id not in (select image_id from examples where split is not null)",
    "longest": "select pair_id, url from pairs order by character_length(url) desc nulls last, pair_id limit 10",
    "one_image": "select text from examples where image_id = (select min(image_id) from images) order by text",
}

# Some 10,000 of 1.2 million images, each with each.
NEAR = (
    "select count(*) as n from images as one inner join images as other on one.image_id < other.image_id "
    "where one.image_id < '02' and other.image_id < '02' and {hamming} <= 6"
)

# The files of tables without what `images` and `originals` carry would be other files; that no pixel is read is tuwen's to see to.
HAMMING = {"tuwen": "hamming(one.dhash, other.dhash)", "duckdb": "bit_count(xor(one.dhash, other.dhash))"}


def tuwen_round(work, corpus, queries):
    """Seconds and rows of each query, asked a second time."""
    script = work.folder / "queries.sql"
    script.write_text(";\n".join(queries * 2) + ";\n", encoding="utf-8")
    command = [work.tuwen, "-v", "sql", "-f", script, "--corpus", corpus, "--format", "ndjson"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stderr[-2000:]}")
    seconds = [float(found) for found in re.findall(r"^query \d+: ([0-9.]+) s$", done.stderr, re.MULTILINE)]
    assert len(seconds) == 2 * len(queries), f"expected a time a query, found {done.stderr[-2000:]}"
    return seconds[len(queries):]


def tuwen_rows(work, corpus, query):
    """The rows of a query as `sql_duckdb.cells` has them."""
    lines = work.run([work.tuwen, "sql", query, "--corpus", corpus, "--format", "ndjson"]).out.splitlines()
    return cells([list(json.loads(line).values()) for line in lines])


def duckdb_round(python, tables, extension, queries):
    """Seconds and rows of each query, asked a second time, and DuckDB's version."""
    task = json.dumps({"tables": tables, "extension": extension, "queries": queries})
    done = subprocess.run([python, HERE / "sql_duckdb.py"], input=task, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def delta_peer():
    """The Python that has DuckDB with its extension delta, and the extension's file; none if they cannot be installed."""
    python = python_with(HERE / "peers/requirements-duckdb-delta.txt")
    find = "import duckdb_extension_delta, pathlib; print(*pathlib.Path(duckdb_extension_delta.__file__).parent.rglob('*.duckdb_extension'))"
    found = subprocess.run([python, "-c", find], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
    return (python, found) if found else None


def geometric_mean(ratios):
    return math.exp(statistics.fmean(map(math.log, ratios)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuwen", default="tuwen", help="the command")
    parser.add_argument("--bench", help="the binary of benches/growth_corpus; built if not given")
    parser.add_argument("--pairs", type=int, default=1_400_000, help="rows of the corpus")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each engine")
    parser.add_argument("--work", type=pathlib.Path, default=CACHE / "bench-growth", help="where the corpora of growth.py are")
    args = parser.parse_args()
    tuwen = shutil.which(args.tuwen)
    if tuwen is None:
        sys.exit(f"--tuwen {args.tuwen}: expected a command, found none\nhint: make build")
    args.work.mkdir(parents=True, exist_ok=True)
    work = Work(args.work.resolve(), str(pathlib.Path(tuwen).resolve()), args.bench or build())
    work.remove("curated")
    corpus = curated(work, args)
    warm(corpus)

    names = [*QUERIES, "near"]
    ours = [*QUERIES.values(), NEAR.format(hamming=HAMMING["tuwen"])]
    theirs = [*QUERIES.values(), NEAR.format(hamming=HAMMING["duckdb"])]
    files = {table: live_files(corpus / table) for table in TABLES}
    folders = {table: str(corpus / table) for table in TABLES}
    delta = delta_peer()
    seconds = {engine: [] for engine in ("tuwen", "parquet", "delta")}
    select_1, versions = [], {}
    for number in range(args.rounds):
        seconds["tuwen"].append(tuwen_round(work, corpus, ours))
        parquet = duckdb_round(sys.executable, files, None, theirs)
        seconds["parquet"].append([answer["seconds"] for answer in parquet["answers"]])
        versions["parquet"] = parquet["version"]
        if delta:
            answered = duckdb_round(delta[0], folders, delta[1], theirs)
            seconds["delta"].append([answer["seconds"] for answer in answered["answers"]])
            versions["delta"] = answered["version"]
        select_1 += [work.sql(corpus, "select 1").seconds * 1000 for _ in range(5)]
        say(f"round {number + 1} of {args.rounds}: " + ", ".join(f"{e} {sum(s[-1]):.2f} s" for e, s in seconds.items() if s))
    for name, query, answer in zip(names, ours, parquet["answers"]):
        found = tuwen_rows(work, corpus, query)
        assert found == answer["cells"], f"{name}: tuwen and DuckDB have other rows: {found[:3]} {answer['cells'][:3]}"
    work.remove("curated", "queries.sql")

    medians = {engine: [statistics.median(column) for column in zip(*rounds)] for engine, rounds in seconds.items()}
    say(f"\n{'':12}{'tuwen':>10}{'Parquet':>10}{'ratio':>8}{'Delta':>10}{'ratio':>8}   seconds; tuwen's smallest and largest")
    figures = {}
    for at, name in enumerate(names):
        spread = [min(round_[at] for round_ in seconds["tuwen"]), max(round_[at] for round_ in seconds["tuwen"])]
        figures[name] = {engine: round(medians[engine][at], 4) for engine in medians if medians[engine]}
        figures[name]["spread"] = [round(value, 4) for value in spread]
        ratio = {e: medians["tuwen"][at] / medians[e][at] for e in ("parquet", "delta") if medians[e]}
        line = f"{name:12}{medians['tuwen'][at]:10.3f}{medians['parquet'][at]:10.3f}{ratio['parquet']:8.2f}"
        if delta:
            line += f"{medians['delta'][at]:10.3f}{ratio['delta']:8.2f}"
        say(line + f"   {spread[0]:.3f} to {spread[1]:.3f}")

    def ratio(engine, places):
        if not medians[engine]:
            return None
        return round(geometric_mean([medians["tuwen"][at] / medians[engine][at] for at in places]), 3)

    scans = range(len(QUERIES))
    print(json.dumps({
        "scan_ratio_parquet": ratio("parquet", scans),
        "scan_ratio_delta": ratio("delta", scans),
        "select_1_ms": round(statistics.median(select_1), 1),
        "near_ratio": ratio("parquet", [len(QUERIES)]),
        "queries": figures,
        "rounds": args.rounds,
        "pairs": args.pairs,
        "duckdb": versions,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
    }))


if __name__ == "__main__":
    main()
