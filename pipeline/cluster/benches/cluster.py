"""What a cluster costs: decode and curate on executors of one core each, on this machine, against the same commands without a cluster on
as many cores. In: nothing; `--pairs 20000 --pictures 400 --rounds 1` is a try of a few minutes. Out: a table on stderr, and as the last
line of stdout one JSON object.

All processes of a measurement (scheduler, executors and the command, or the command alone) share the same cores, one for one executor,
two for two. A round is the command alone, then on the cluster, on one core and on two, each on a copy of its own; of the rounds the
medians count, and `spread` has the smallest and the largest.

* `decode_ratio_N`, `curate_ratio_N`: seconds of the command alone over those on N executors; `ratio_N` is that of both together.
* `decode_local_N_s`, `decode_cluster_N_s`, `curate_local_N_s`, `curate_cluster_N_s`: the seconds.
* `job_s`: what one job costs: a `tuwen sql` that counts four rows on the cluster, less the same without it.

The pictures of decode are those of `decode_vs_seed.py` (web-like JPEGs, 0.45 Mpx in the mean); the rows of curate are those of
`growth.py` (`growth_corpus`), 1.4 M pairs by default, kept in its folder.
"""
import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

CLI = pathlib.Path(__file__).resolve().parents[2] / "cli" / "benches"
sys.path.insert(0, str(CLI))

from decode_vs_seed import make_images  # noqa: E402
from growth_work import Work, build, say, warm  # noqa: E402

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "tuwen"


def free_port():
    """A port that is free."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Cluster:
    """A scheduler and `n` executors of one core each, on the first `n` cores."""

    def __init__(self, binary, n, folder):
        self.address = f"127.0.0.1:{free_port()}"
        self.cores = ",".join(map(str, range(n)))
        self.processes = []
        self.start([binary, "scheduler", "--bind", self.address], self.cores)
        for core in range(n):
            work = folder / f"executor-{core}"
            command = [binary, "executor", "--scheduler", self.address, "--vcores", "1", "--memory", "4G"]
            self.start([*command, "--port", str(free_port()), "--work-dir", str(work)], str(core))
        until = time.monotonic() + 60
        while len(self.executors()) < n:
            if time.monotonic() > until:
                sys.exit("the executors did not come")
            time.sleep(0.1)

    def start(self, command, cores):
        log = tempfile.TemporaryFile()
        self.processes.append(subprocess.Popen(["taskset", "-c", cores, *command], stdout=log, stderr=log))

    def executors(self):
        with contextlib.suppress(OSError):
            return json.load(urllib.request.urlopen(f"http://{self.address}/executors"))["executors"]
        return []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def timed(work, cores, command):
    """Seconds of a command on `cores`."""
    return work.run(["taskset", "-c", cores, *command]).seconds


def measure(args, work, pictures, pairs, n, cluster):
    """One round on `n` cores: seconds by what was done where."""
    cores = ",".join(map(str, range(n)))
    seconds = {}
    for where, more in (("local", []), ("cluster", ["--cluster", cluster.address])):
        copy = work.copy(pictures, "pictures-copy")
        warm(copy)
        command = [args.tuwen_cluster, "decode", "--corpus", copy, *more]
        seconds[f"decode_{where}_{n}_s"] = timed(work, cores, command)
        copy = work.copy(pairs, "pairs-copy")
        warm(copy)
        command = [args.tuwen_cluster, "curate", "--corpus", copy, "--tokenizer", work.tokenizer, *more]
        command += ["--set", "max_rejected_percent=100", "--set", "curate.split=filename"]
        seconds[f"curate_{where}_{n}_s"] = timed(work, cores, command)
    say(f"{n} core(s): " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuwen-cluster", required=True)
    parser.add_argument("--pairs", type=int, default=1_400_000)
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    args.tuwen_cluster = str(pathlib.Path(args.tuwen_cluster).resolve())
    work = Work(CACHE / "bench-growth", args.tuwen_cluster, build())
    pairs = work.corpus(args.pairs)
    images = CACHE / "bench-decode" / "images"
    make_images(images, args.pictures)
    source = work.write_csv("pictures.csv", (f"图{i},,train-{i}.jpg" for i in range(args.pictures)))
    work.remove("pictures")
    pictures = work.folder / "pictures"
    work.run([args.tuwen_cluster, "fetch", source, "--image-dir", images, "--corpus", pictures])
    rounds, jobs = [], []
    for _ in range(args.rounds):
        seconds = {}
        for n in (1, 2):
            with tempfile.TemporaryDirectory(dir=work.folder / "tmp") as folder:
                with Cluster(args.tuwen_cluster, n, pathlib.Path(folder)) as cluster:
                    seconds |= measure(args, work, pictures, pairs, n, cluster)
                    query = [args.tuwen_cluster, "sql", "select count(*) from runs", "--corpus", pictures]
                    at = ["--cluster", cluster.address, "--set", "cluster_least_bytes=0"]
                    there = timed(work, cluster.cores, [*query, *at])
                    jobs.append(there - timed(work, cluster.cores, query))
        rounds.append(seconds)
    work.remove("pictures", "pictures-copy", "pairs-copy", "pictures.csv")
    middle = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    figures = {"job_s": round(statistics.median(jobs), 3)}
    for n in (1, 2):
        local = [middle[f"{stage}_local_{n}_s"] for stage in ("decode", "curate")]
        there = [middle[f"{stage}_cluster_{n}_s"] for stage in ("decode", "curate")]
        figures[f"ratio_{n}"] = round(sum(local) / sum(there), 3)
        for stage, a, b in zip(("decode", "curate"), local, there):
            figures[f"{stage}_ratio_{n}"] = round(a / b, 3)
    figures |= {name: round(value, 2) for name, value in middle.items()}
    figures["spread"] = {
        name: [round(min(one[name] for one in rounds), 2), round(max(one[name] for one in rounds), 2)] for name in middle
    }
    for name, value in figures.items():
        if name != "spread":
            say(f"{name:24} {value}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
