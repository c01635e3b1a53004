"""Times `tuwen fetch` against img2dataset: the same pictures from the same nginx on this machine, in one run, in turns.

In: nothing; `--images 500 --long 1000 --runs 1` is a try of a minute. Out: progress and a table on stderr, and as the last line of
stdout one JSON object. What `--only` leaves out is null in it, and so is a peer that cannot run.

* The short list has `--images` different JPEGs of about 57 kB, which are made once and kept in the user's cache; the long one has
  `--long` URLs of them, made different by their query. One nginx worker serves them, without TLS.
* tuwen: `tuwen fetch urls.csv`, `--concurrency` requests at once: the CSV becomes `pairs`, the bytes are committed to `originals`.
* img2dataset: its command, `--concurrency` threads in all, in one process or two: the warm-up says which is faster. Where one
  shard (10,000 samples) would leave the second process idle, it gets two. It stores the bytes as they came and their SHA-256, as
  tuwen does, in Parquet; it decodes and resizes none and reads no EXIF.

Rates and `ratio` are those of whole processes, from start to end. `own` in the table is what each says itself that the download
took: the stage fetch of `tuwen fetch --json`, and the shards of img2dataset from the first start to the last end. After each run
every stored picture is read back: their number, their bytes together and the set of their SHA-256 must be those of the list.
"""
import argparse
import contextlib
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
import pathlib
import platform
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

from growth_work import HERE, CommandFailed, Work, say

FOLDER = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "tuwen/bench-fetch"
TUWEN, PEER = "tuwen", "img2dataset"

NGINX_CONFIG = """
daemon off; user {user}; worker_processes 1; pid nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; keepalive_requests 100000;
    types {{ image/jpeg jpg; }}
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{ listen 127.0.0.1:{port}; root "{root}"; }}
}}
"""


@dataclasses.dataclass
class UrlList:
    """A CSV of URLs, and what must be stored of it: so many pictures, of so many bytes together, with these SHA-256."""

    csv: pathlib.Path
    n_rows: int
    n_bytes: int
    hashes: set[bytes]


def apart(function, *arguments):
    """What the function returns, called in a process of its own, so that this one stays small: the resident set that a command
    is said to have had (`ru_maxrss`) is never less than that of the process which began it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def picture():
    """The JPEG of which the files are made, 55 kB."""
    import decode_vs_seed
    return decode_vs_seed.web_like(4)


def with_comment(jpeg, number):
    """The JPEG with a comment after its first marker: other bytes for each number, and lengths that differ by up to 4 kB."""
    comment = str(number).encode().ljust(16 + number % 4096)
    return jpeg[:2] + b"\xff\xfe" + (2 + len(comment)).to_bytes(2, "big") + comment + jpeg[2:]


def make_files(jpeg, count):
    """The folder of `count` different JPEGs; made if it is not there."""
    key = hashlib.sha256(with_comment(jpeg, count)).hexdigest()[:12]
    files, part = FOLDER / f"files-{key}", FOLDER / f"files-{key}.part"
    if not files.exists():
        part.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (part / f"{number}.jpg").write_bytes(with_comment(jpeg, number))
        part.rename(files)
    return files


def url_list(work, address, jpeg, n_files, n_rows, name):
    """A list of `n_rows` URLs that asks for the files in turn; its columns are those of a crawl."""
    lines = [f"图 {row},{address}/{row % n_files}.jpg?n={row},train-{row}.jpg" for row in range(n_rows)]
    n_bytes = sum(len(with_comment(jpeg, row % n_files)) for row in range(n_rows))
    hashes = {hashlib.sha256(with_comment(jpeg, number)).digest() for number in range(min(n_files, n_rows))}
    return UrlList(work.write_csv(name, lines), n_rows, n_bytes, hashes)


def find_nginx():
    """The command nginx; root gets it installed if it is not there."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if found := shutil.which("nginx", path=path):
        return found
    command = "apt-get install -y -qq --no-install-recommends nginx"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"nginx: expected a command, found none\nhint: sudo {command}")
    say("installing nginx")
    install = f"apt-get update -qq && DEBIAN_FRONTEND=noninteractive {command}"
    subprocess.run(install, shell=True, check=True, stdout=sys.stderr)
    return shutil.which("nginx", path=path)


@contextlib.contextmanager
def served(files, folder):
    """The address at which nginx serves `files` meanwhile. Its configuration and all that it writes lie in `folder`, anew."""
    nginx, config, log = find_nginx(), folder / "nginx.conf", folder / "error.log"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    config.write_text(NGINX_CONFIG.format(user=pwd.getpwuid(os.geteuid()).pw_name, port=port, root=files), encoding="utf-8")
    server = subprocess.Popen([nginx, "-p", folder, "-c", config, "-e", log], stdin=subprocess.DEVNULL)
    try:
        wait_for(server, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def wait_for(server, port, log):
    """Returns when the server accepts connections."""
    until = time.monotonic() + 10
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port)).close()
        time.sleep(0.02)
    sys.exit(f"nginx: expected it at port {port}, found exit code {server.poll()}\n{log.read_text()}")


def run_tuwen(work, concurrency, urls):
    """`tuwen fetch` into a new corpus: the process, seconds of its download, the Parquet files and their column of pictures."""
    corpus = work.folder / "out"
    command = [work.tuwen, "fetch", urls.csv, "--corpus", corpus, "--allow-private-hosts", "--concurrency", concurrency, "--json"]
    run = work.run([*command, "--set", f"fetch.per_host={concurrency}", "--set", "fetch.proxy=ignore"])
    entries = (line for log in (corpus / "originals/_delta_log").glob("*.json") for line in log.read_text().splitlines())
    paths = [corpus / "originals" / entry["add"]["path"] for entry in map(json.loads, entries) if "add" in entry]
    return run, run.stages()["fetch"]["seconds"], (paths, "bytes")


def peer_environment():
    """The folder of commands of img2dataset's virtual environment, made if it is not there. It does not see the project's packages,
    as those of `peers/environment.py` do: img2dataset would load torch in each of its processes, and has no use for it."""
    requirements = HERE / "peers/requirements-img2dataset.txt"
    key = hashlib.sha256(sys.version.encode() + requirements.read_bytes()).hexdigest()[:12]
    folder = FOLDER.parent / f"venv-img2dataset-{key}"
    if not (folder / ".ready").exists():
        say(f"making {folder}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "-q", "-r", requirements], check=True, stdout=sys.stderr)
        (folder / ".ready").touch()
    return folder / "bin"


def run_peer(work, concurrency, commands, processes, urls):
    """The same of img2dataset, into a new folder."""
    folder = work.folder / "out"
    flags = {
        "url_list": urls.csv, "input_format": "csv", "url_col": "url", "caption_col": "text",
        "output_folder": folder, "output_format": "parquet",
        "number_sample_per_shard": min(10_000, -(-urls.n_rows // processes)),
        "processes_count": processes, "thread_count": concurrency // processes, "retries": 0,
        "resize_mode": "no", "disable_all_reencoding": True, "extract_exif": False, "enable_wandb": False,
    }
    run = work.run([commands / "img2dataset", *(f"--{name}={value}" for name, value in flags.items())])
    shards = [json.loads(path.read_text()) for path in folder.glob("*_stats.json")]
    if not shards:
        raise CommandFailed(f"expected shards in {folder}, found none\n{run.out[-3000:]}")
    own_seconds = max(shard["end_time"] for shard in shards) - min(shard["start_time"] for shard in shards)
    return run, own_seconds, (list(folder.glob("*.parquet")), "jpg")


def read_back(paths, column):
    """How many values a column of Parquet files has, of how many bytes together, and their SHA-256."""
    import pyarrow.parquet
    n_rows, n_bytes, hashes = 0, 0, set()
    for path in paths:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(256, columns=[column]):
            contents = [content or b"" for content in batch.column(0).to_pylist()]
            n_rows += len(contents)
            n_bytes += sum(map(len, contents))
            hashes |= {hashlib.sha256(content).digest() for content in contents}
    return n_rows, n_bytes, hashes


def measured(work, name, way, urls):
    """The figures of a run over a list, every picture of which was read back."""
    # Or the disk is still writing while the clock runs.
    os.sync()
    run, own_seconds, stored = way(urls)
    n_rows, n_bytes, hashes = apart(read_back, *stored)
    if (n_rows, n_bytes, hashes) != (urls.n_rows, urls.n_bytes, urls.hashes):
        sys.exit(f"{name}: expected {urls.n_rows} pictures of {urls.n_bytes} bytes together, found {n_rows} of {n_bytes}, "
                 f"{len(urls.hashes & hashes)} of {len(urls.hashes)} files among them")
    work.remove("out")
    say(f"{name}, {urls.n_rows:,} URLs: {run.seconds:.2f} s, the download {own_seconds:.2f} s")
    rate, peak_mib = urls.n_rows / run.seconds, 1024 * run.peak_gib
    return {"images/s": rate, "seconds": run.seconds, "own": own_seconds, "CPU": run.cpu_seconds, "peak_mib": peak_mib}


def faster_peer(work, concurrency, urls):
    """The number of processes in which img2dataset is faster, and that way of running it; none if it cannot run."""
    try:
        commands = peer_environment()
        ways = {n: functools.partial(run_peer, work, concurrency, commands, n) for n in (1, 2)}
        seconds = {n: measured(work, f"warm-up: {PEER}, processes: {n}", way, urls)["seconds"] for n, way in ways.items()}
    except (CommandFailed, subprocess.CalledProcessError) as error:
        say(f"{PEER}: null: {error}")
        return None, None
    fastest = min(seconds, key=seconds.get)
    return fastest, ways[fastest]


def in_turns(work, ways, urls, rounds):
    """The runs over a list, by name; who begins changes from round to round."""
    seen = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            seen[name].append(measured(work, name, ways[name], urls))
    return seen


def medians(runs):
    """The median of each figure of runs."""
    return {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}


def print_table(lists, seen):
    """A line for each list and each who fetched it: medians, and the slowest and the fastest run."""
    say(f"\n{'':24}{'images/s':>10}{'from':>8}{'to':>8}{'seconds':>10}{'own':>8}{'CPU':>8}")
    for length, urls in lists.items():
        for name, runs in seen[length].items():
            of, rates = medians(runs), [run["images/s"] for run in runs]
            say(f"{f'{name}, {urls.n_rows:,}':24}{of['images/s']:10,.0f}{min(rates):8,.0f}{max(rates):8,.0f}"
                f"{of['seconds']:10.2f}{of['own']:8.2f}{of['CPU']:8.2f}")


def report(seen):
    """The figures of the last line; null where nothing was measured."""
    figures = {}
    for length, suffix in (("short", ""), ("long", "_long")):
        rates = {name: medians(runs)["images/s"] for name, runs in seen[length].items()}
        ours, theirs = rates.get(TUWEN), rates.get(PEER)
        figures[f"images_per_s{suffix}"] = ours and round(ours, 1)
        figures[f"peer_images_per_s{suffix}"] = theirs and round(theirs, 1)
        figures[f"ratio{suffix}"] = round(ours / theirs, 2) if ours and theirs else None
    peaks = [run["peak_mib"] for of_list in seen.values() for run in of_list.get(TUWEN, [])]
    return figures | {"peak_rss_mib": round(max(peaks), 1) if peaks else None}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuwen", default="tuwen", help="the command")
    parser.add_argument("--images", type=int, default=10_000, help="files, and URLs of the short list")
    parser.add_argument("--long", type=int, default=100_000, help="URLs of the long list")
    parser.add_argument("--runs", type=int, default=5, help="measurements of each")
    parser.add_argument("--concurrency", type=int, default=64, help="requests at once; threads of a process of img2dataset")
    parser.add_argument("--only", choices=["tuwen", "peer"], help="one of the two")
    args = parser.parse_args()
    tuwen = shutil.which(args.tuwen)
    if tuwen is None and args.only != "peer":
        sys.exit(f"--tuwen {args.tuwen}: expected a command, found none\nhint: make build")
    # So that nginx and the command under the clock end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # No proxy on the way to nginx; and a library of img2dataset asks the network for news of itself at each start.
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    jpeg = apart(picture)
    # No corpora are made beforehand, so nothing is there that makes them.
    work = Work(FOLDER, tuwen and str(pathlib.Path(tuwen).resolve()), binary="")
    work.remove("out")
    ways, processes = {}, None
    with served(make_files(jpeg, args.images), FOLDER / "nginx") as address:
        make_list = functools.partial(url_list, work, address, jpeg, args.images)
        lists = {"short": make_list(args.images, "short.csv"), "long": make_list(args.long, "long.csv")}
        if args.only != "peer":
            ways[TUWEN] = functools.partial(run_tuwen, work, args.concurrency)
            measured(work, f"warm-up: {TUWEN}", ways[TUWEN], lists["short"])
        if args.only != "tuwen":
            processes, way = faster_peer(work, args.concurrency, lists["short"])
            ways |= {PEER: way} if way else {}
        seen = {length: in_turns(work, ways, urls, args.runs) for length, urls in lists.items()}
    print_table(lists, seen)
    print(json.dumps(report(seen) | {"peer_processes": processes, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}))


if __name__ == "__main__":
    main()
