"""What curation and nightly runs cost as a corpus grows. In: nothing; `--pairs 20000 --largest 40000 --nights 5` is a try of a minute or
two. Out: progress and a table on stderr, and as the last line of stdout one JSON object; what `--only` leaves out is null in it.

The corpora are made by `benches/growth_corpus` (which says what they are, and are not) and kept in `--work` for the next time. Each
measurement has a copy of its own, and every file of it was read once before: the page cache is as warm as memory allows. Seconds
are wall time of whole processes, from start to end; `…_cpu_s` is what their threads ran, which a busy machine changes less; peaks
are their largest resident set. Where something is measured several times, the figure is the median, and `spread` has the smallest
and the largest. A step of which a command fails is in `failed`, with what that said; the others go on, and the exit code is 1.

* `curate`: `tuwen curate` of `--pairs` rows on a copy without examples, so that all are made: `curate_s`, `curate_peak_gib`.
* `skewed`: the same for pictures of which two fifths are on plain grounds: `curate_skewed_s`, `curate_skewed_peak_gib`.
* `nightly`: one `tuwen run` (ingest, fetch from a server on this machine, decode, curate) of 1,000 new rows on that corpus once it
  is curated, three nights one after the other, after a first one that finds no earlier runs of fetch and decode and asks all rows
  (`first_night_s`): `nightly_s`, `nightly_peak_gib`, `nightly_curate_s` (that stage alone, as it says itself),
  `nightly_written_bytes` (what the corpus's folder has grown by). `nothing_new_s`: the last of them again, which commits nothing.
* `growth`: `curate` of the largest corpus that the disk has room for, at most `--largest`, once, over that of a tenth of it:
  `growth_ratio`; `growth_peak_gib` and `growth_s` are those of the largest, `growth_pairs` its rows.
* `nights`: `--nights` times `tuwen run` of 100 new rows, from an empty corpus on, then `tuwen optimize` and `tuwen vacuum` where there are
  such commands; beside a corpus into which the same rows came in one run. `count_s` is `tuwen sql` counting examples, `open_s` the
  same with a query that reads no table, `files` all files in the folder.
* `duckdb`: what `curate` does in SQL, done by DuckDB on the same files: `duckdb_curate_s`, `duckdb_curate_peak_gib`.
  `growth_duckdb.py` says what is left out: the search for near-identical images, cleaning, tokens, audits, the commit.
  `duckdb_agrees`: whether both count the same rows for each reason that does not depend on these.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import sys

from growth_work import HERE, CommandFailed, Work, batches, build, files, say, size_bytes, warm

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "tuwen"

# Measurements of each; the largest corpus has one.
ROUNDS = 3

# New rows of a night on the large corpus.
NIGHT_ROWS = 1000

# New rows of each of the many nights.
SMALL_NIGHT_ROWS = 100

# Folders that are written to.
COPIES = ["curated", "skewed", "nightly", "tenth", "largest", "nights", "nights-fresh"]

# Bytes free that a corpus needs, over its own: its examples, and the temporary files of curate.
ROOM = 2.5

# Reasons that do not depend on what DuckDB leaves out.
SAME_REASONS = ["malformed_line", "no_locator", "not_fetched", "fetch_failed", "not_decoded", "image_rejected", "placeholder_image"]

# What the last line has, with what each is for people.
FIGURES = {
    "curate_s": "curate, all rows made anew",
    "curate_cpu_s": "  CPU time of its threads",
    "curate_peak_gib": "  its memory",
    "curate_skewed_s": "the same, pictures on plain grounds",
    "curate_skewed_cpu_s": "  CPU time of its threads",
    "curate_skewed_peak_gib": "  its memory",
    "first_night_s": "the first night of 1,000 new rows",
    "nightly_s": "a night of 1,000 new rows, all stages",
    "nightly_peak_gib": "  its memory",
    "nightly_curate_s": "  curate alone",
    "nightly_written_bytes": "  bytes the folder grew by",
    "nothing_new_s": "a night without anything new",
    "growth_s": "curate, the largest corpus",
    "growth_peak_gib": "  its memory",
    "growth_ratio": "  its time over that of a tenth",
    "duckdb_curate_s": "DuckDB: the same joins, less (see above)",
    "duckdb_curate_cpu_s": "  CPU time of its threads",
    "duckdb_curate_peak_gib": "  its memory",
}


def curate(work, args):
    """`curate_s`; the last copy stays for the steps that want a curated corpus."""
    runs = [curated_copy(work, work.corpus(args.pairs), "curated") for _ in range(ROUNDS)]
    return curation("curate", runs)


def skewed(work, args):
    """`curate_skewed_s`."""
    runs = [curated_copy(work, work.corpus(args.pairs, skewed=True), "skewed") for _ in range(ROUNDS)]
    work.remove("skewed")
    return curation("curate_skewed", runs)


def curated_copy(work, corpus, name):
    """Curates a new copy of a made corpus, and says how that went."""
    copy = work.copy(corpus, name)
    warm(copy)
    run = work.tuwen_run("curate", copy)
    stage = run.stages()["curate"]
    rejected = ", ".join(f"{reason} {n:,}" for reason, n in stage["rejected"].items())
    say(f"curate of {corpus.name}: {run.seconds:.1f} s ({run.cpu_seconds:.1f} of CPU), {run.peak_gib:.2f} GiB; "
        f"{stage['rows_out']:,} in splits, {rejected}")
    return run


def curation(name, runs):
    """The figures of runs of curate."""
    return {
        f"{name}_s": [run.seconds for run in runs],
        f"{name}_cpu_s": [run.cpu_seconds for run in runs],
        f"{name}_peak_gib": [run.peak_gib for run in runs],
    }


def curated(work, args):
    """The copy of the corpus of `--pairs` rows that has its examples."""
    folder = work.folder / "curated"
    if not folder.exists():
        curated_copy(work, work.corpus(args.pairs), "curated")
    return folder


def nightly(work, args):
    """Nights of new rows on a corpus that is there, and then nothing new."""
    corpus = work.copy(curated(work, args), "nightly")
    warm(corpus)
    figures = {name: [] for name in ("nightly_s", "nightly_peak_gib", "nightly_curate_s", "nightly_written_bytes", "nothing_new_s")}
    stages = []
    with work.served((1 + ROUNDS) * NIGHT_ROWS, seed=1) as rows:
        first, *others = batches(rows, NIGHT_ROWS)
        # The made tables have no runs of fetch and decode, so the first night asks all rows what is to do.
        run = work.tuwen_run("run", corpus, work.write_csv("night-first.csv", first))
        figures["first_night_s"] = [run.seconds]
        say(f"first night: {run.seconds:.2f} s")
        for number, night in enumerate(others):
            csv = work.write_csv(f"night-{number}.csv", night)
            before = size_bytes(corpus)
            run = work.tuwen_run("run", corpus, csv)
            stages.append({name: stage["seconds"] for name, stage in run.stages().items()})
            figures["nightly_s"].append(run.seconds)
            figures["nightly_peak_gib"].append(run.peak_gib)
            figures["nightly_curate_s"].append(stages[-1]["curate"])
            figures["nightly_written_bytes"].append(size_bytes(corpus) - before)
            words = ", ".join(f"{name} {seconds:.2f}" for name, seconds in stages[-1].items())
            say(f"night {number + 1}: {run.seconds:.2f} s ({words}), {figures['nightly_written_bytes'][-1] / 1e6:.1f} MB written")
        for _ in range(ROUNDS):
            run = work.tuwen_run("run", corpus, csv)
            assert not any(stage["commits"] for stage in run.stages().values()), f"nothing was new, yet committed: {run.out}"
            figures["nothing_new_s"].append(run.seconds)
            say(f"nothing new: {run.seconds:.2f} s")
    work.remove("nightly", "night-first.csv", *(f"night-{number}.csv" for number in range(ROUNDS)))
    medians = {name: round(statistics.median(seen[name] for seen in stages), 3) for name in stages[0]}
    return figures | {"nightly_stages_s": medians}


def growth(work, args):
    """The largest corpus against a tenth of it."""
    n_pairs = fitting(work, args.largest)
    tenth_runs = [curated_copy(work, work.corpus(n_pairs // 10), "tenth") for _ in range(ROUNDS)]
    run = curated_copy(work, work.corpus(n_pairs), "largest")
    work.remove("tenth", "largest")
    ratio = run.seconds / statistics.median(seen.seconds for seen in tenth_runs)
    return {"growth_pairs": n_pairs, "growth_s": [run.seconds], "growth_peak_gib": [run.peak_gib], "growth_ratio": [ratio]}


def fitting(work, most):
    """The largest number of pairs, in tenths of `most`, that the disk has room for: a tenth of it is measured."""
    tenth = work.corpus(most // 10)
    there = [path for path in work.folder.glob(f"photos-{most // 10 * 10}-*")]
    free = shutil.disk_usage(work.folder).free + sum(map(size_bytes, there))
    needed = 10 * size_bytes(tenth) * ROOM
    if needed <= free:
        return most // 10 * 10
    tenths = int(10 * free / needed)
    fits = most // 100 * 10 * tenths
    say(f"growth: {most:,} pairs need {needed / 1e9:.0f} GB, {free / 1e9:.0f} GB are free: {fits:,} pairs")
    if tenths == 0:
        sys.exit(f"{work.folder}: expected room for a tenth of --largest, found none")
    return fits


def nights(work, args):
    """Many small nights beside the same rows in one run."""
    corpus, fresh = work.folder / "nights", work.folder / "nights-fresh"
    with work.served(args.nights * SMALL_NIGHT_ROWS, seed=2) as rows:
        seconds = []
        for number, night in enumerate(batches(rows, SMALL_NIGHT_ROWS)):
            seconds.append(work.tuwen_run("run", corpus, work.write_csv("night.csv", night)).seconds)
            if (number + 1) % 50 == 0 or number + 1 == args.nights:
                say(f"night {number + 1} of {args.nights}: {seconds[-1]:.2f} s")
        fresh_s = work.tuwen_run("run", fresh, work.write_csv("night.csv", rows)).seconds
    few = max(1, args.nights // 10)
    figures = {
        "nights": args.nights,
        "rows_a_night": SMALL_NIGHT_ROWS,
        "first_nights_s": round(statistics.median(seconds[:few]), 3),
        "last_nights_s": round(statistics.median(seconds[-few:]), 3),
        "fresh_run_s": round(fresh_s, 3),
        "after": state(work, corpus),
        "tidied": tidied(work, corpus),
        "fresh": state(work, fresh),
    }
    counts = {seen["examples"] for seen in (figures["after"], figures["tidied"], figures["fresh"]) if seen}
    assert counts == {args.nights * SMALL_NIGHT_ROWS}, f"expected the same rows after nights and after one run, found {figures}"
    for name in ("after", "tidied", "fresh"):
        say(f"{args.nights} nights of {SMALL_NIGHT_ROWS} rows, {name}: {figures[name]}")
    work.remove("nights", "nights-fresh", "night.csv")
    return {"nights": figures}


def tidied(work, corpus):
    """The state of a corpus after `tuwen optimize` and `tuwen vacuum`; none where these commands are not there."""
    if not (work.has_command("optimize") and work.has_command("vacuum")):
        say("nights: this tuwen has no optimize and vacuum: measured as the nights left it")
        return None
    optimize_s = work.run([work.tuwen, "optimize", "--corpus", corpus]).seconds
    vacuum_s = work.run([work.tuwen, "vacuum", "--corpus", corpus, "--older-than", "0s", "--force"]).seconds
    return state(work, corpus) | {"optimize_s": round(optimize_s, 3), "vacuum_s": round(vacuum_s, 3)}


def state(work, corpus):
    """What it costs to ask a corpus something; medians of five, after one that warms up."""

    def median_s(query):
        return round(statistics.median([work.sql(corpus, query).seconds for _ in range(6)][1:]), 3)

    examples = int(work.sql(corpus, "select count(*) from examples").out.split()[1])
    count_s, open_s = median_s("select count(*) from examples"), median_s("select 1")
    return {"count_s": count_s, "open_s": open_s, "files": len(files(corpus)), "bytes": size_bytes(corpus), "examples": examples}


def duckdb(work, args):
    """DuckDB on the same files."""
    corpus, out = work.corpus(args.pairs), work.folder / "duckdb.parquet"
    warm(corpus)
    runs = []
    for _ in range(ROUNDS):
        runs.append(work.run([sys.executable, HERE / "growth_duckdb.py", corpus, out]))
        say(f"DuckDB on {corpus.name}: {runs[-1].seconds:.1f} s, {runs[-1].peak_gib:.2f} GiB")
    work.remove("duckdb.parquet")
    theirs = json.loads(runs[-1].out)
    query = "select coalesce(reject_reason, '-'), count(*) from examples group by 1"
    ours = dict(line.split(",") for line in work.sql(curated(work, args), query).out.split()[1:])
    say(f"{'rows by reason':20}{'tuwen':>12}{'DuckDB':>12}")
    for reason in sorted(set(ours) - {"-"} | set(theirs) - {""}):
        say(f"{reason:20}{int(ours.get(reason, 0)):12,}{theirs.get(reason, 0):12,}")
    agrees = all(int(ours.get(reason, 0)) == theirs.get(reason, 0) for reason in SAME_REASONS)
    return curation("duckdb_curate", runs) | {"duckdb_agrees": agrees}


STEPS = {"curate": curate, "skewed": skewed, "nightly": nightly, "duckdb": duckdb, "nights": nights, "growth": growth}


def print_table(figures):
    """A line a figure: the median, the smallest and the largest."""
    say(f"\n{'':42}{'median':>14}{'from':>14}{'to':>14}")
    for name, what in FIGURES.items():
        if name not in figures:
            continue
        digits = 0 if name.endswith("_bytes") else 2
        low, high, middle = min(figures[name]), max(figures[name]), statistics.median(figures[name])
        say(f"{what:42}" + "".join(f"{value:14,.{digits}f}" for value in (middle, low, high)))


def report(figures, args):
    """The last line: medians, the spread of those measured several times, and what was measured."""
    repeated = {name: values for name, values in figures.items() if isinstance(values, list)}
    digits = {name: None if name.endswith("_bytes") else 3 for name in repeated}
    medians = {name: round(statistics.median(values), digits[name]) for name, values in repeated.items()}
    spread = {
        name: [round(min(values), digits[name]), round(max(values), digits[name])]
        for name, values in repeated.items()
        if len(values) > 1
    }
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
    left_out = dict.fromkeys([*FIGURES, "nights", "nightly_stages_s", "growth_pairs", "duckdb_agrees"])
    return left_out | figures | medians | {"spread": spread, "pairs": args.pairs, "machine": machine}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuwen", default="tuwen", help="the command")
    parser.add_argument("--bench", help="the binary of benches/growth_corpus; built if not given")
    parser.add_argument("--pairs", type=int, default=1_400_000, help="rows of the corpus that most is measured on")
    parser.add_argument("--largest", type=int, default=14_000_000, help="rows of the largest corpus, if the disk has room for it")
    parser.add_argument("--nights", type=int, default=365, help="nights of 100 rows")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--keep", action="store_true", help="keep the corpora of other sizes and the curated copy too")
    parser.add_argument("--work", type=pathlib.Path, default=CACHE / "bench-growth", help="where everything is made")
    args = parser.parse_args()
    # So that the command under the clock ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    args.work.mkdir(parents=True, exist_ok=True)
    tuwen = shutil.which(args.tuwen)
    if tuwen is None:
        sys.exit(f"--tuwen {args.tuwen}: expected a command, found none\nhint: make build")
    work = Work(args.work.resolve(), str(pathlib.Path(tuwen).resolve()), args.bench or build())
    # What an earlier run that was stopped has left; its copies may be of another corpus.
    work.remove(*COPIES)
    figures, failed = {}, {}
    for name in (name for name in STEPS if name in args.only):
        try:
            figures |= STEPS[name](work, args)
        except CommandFailed as error:
            say(f"{name}: {error}")
            failed[name] = str(error)
            work.remove("curated")
    if not args.keep:
        work.remove(*COPIES, *(corpus.name for n_pairs, corpus in work.made if n_pairs != args.pairs))
    print_table(figures)
    print(json.dumps(report(figures, args) | {"failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
