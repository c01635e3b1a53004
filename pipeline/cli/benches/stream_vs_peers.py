"""The stream against its peers: one machine, one run, page cache warm, batches of 64 of the same 224x224 images, two threads.

In two parts. The stream, in its ways of reading and by Python, and numpy over a memory-mapped raw file take turns, several rounds. Then every
peer in `benches/peers` has its turn in a process of its own (one epoch to warm up and to prove its batches, five timed, the
median counts), and the stream before each of them. The stream's batches are whole (ids, pixels, padded captions); the peers' are
ids and pixels; the docstring of each peer's script says exactly what is measured. A peer that cannot be installed or fails is
null, with the reason on stderr. The corpus, the peers' copies of it and their environments are made once and kept in the
user's cache: 14 GB for 8,192 images, 2 GB of environments.

Progress and a table go to stderr; the last line of stdout is one JSON object.
"""
import argparse
import atexit
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))
import environment

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "tuwen"

# Name: its script's arguments, and the requirements of its environment (none: the project's own).
PEERS = {
    "numpy_memmap": (["numpy_memmap.py"], None),
    "numpy_memmap_2": (["numpy_memmap.py", "--workers", "2"], None),
    "torch_dataloader": (["torch_dataloader.py"], None),
    "torch_dataloader_0": (["torch_dataloader.py", "--workers", "0"], None),
    "hf_datasets": (["hf_datasets.py"], "requirements.txt"),
    "hf_datasets_0": (["hf_datasets.py", "--workers", "0"], "requirements.txt"),
    "ffcv_raw": (["ffcv_raw.py"], "requirements.txt"),
    "ffcv_jpeg": (["ffcv_jpeg.py"], "requirements.txt"),
    "litdata_streaming": (["litdata_streaming.py"], "requirements.txt"),
    "webdataset_raw": (["webdataset_raw.py"], "requirements.txt"),
    "mosaicml_streaming": (["mosaicml_streaming.py"], "requirements-streaming.txt"),
    "lance_take": (["lance_take.py"], "requirements.txt"),
    "seed_loader": (["seed_loader.py"], "requirements.txt"),
}

# The limits to be measured against take turns with the stream, round for round.
LIMITS = {"raw_global_1": "numpy_memmap", "raw_global": "numpy_memmap_2"}

# A peer that hangs ends here; the slowest, the seed's loader, takes some two minutes.
PEER_TIMEOUT_SECS = 1800


def say(line):
    print(line, file=sys.stderr, flush=True)


def build():
    """The binary of benches/stream_bench.rs and the Python module's library, built in the profile that everything else is built in."""
    command = ["cargo", "build", "--workspace", "--lib", "--bench", "stream_bench", "--message-format=json"]
    built = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in built.splitlines()]
    named = {message["target"]["name"]: message for message in messages if "target" in message and "filenames" in message}
    library = next(name for name in named["_tuwen"]["filenames"] if name.endswith((".so", ".dylib")))
    return named["stream_bench"]["executable"], library


def with_module(library):
    """The environment in which Python finds the module `tuwen`, as the wheel has it: a folder of links."""
    folder = pathlib.Path(tempfile.gettempdir(), f"tuwen-module-{os.getpid()}")
    if not folder.exists():
        (folder / "tuwen").mkdir(parents=True)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for file in (HERE.parents[1] / "python/python/tuwen").iterdir():
            (folder / "tuwen" / file.name).symlink_to(file)
        (folder / "tuwen/_tuwen.abi3.so").symlink_to(pathlib.Path(library).resolve())
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def python_images_per_s(module, corpus):
    """Images/s of the stream by Python: the same work as `measure --readers 2`."""
    command = [sys.executable, HERE / "peers/tuwen_python.py", corpus, "--readers", "2"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=with_module(module))
    return json.loads(done.stdout)["images_per_s"]


def rust_and_python(binary, module, corpus, number):
    """Images/s of both, one right after the other, in every other round Python first."""
    command = [binary, "measure", corpus, "--readers", "2"]
    turns = {
        "rust": lambda: json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["images_per_s"],
        "python": lambda: python_images_per_s(module, corpus),
    }
    return {name: turns[name]() for name in list(turns)[:: -1 if number % 2 else 1]}


def make_raw(path, n_images, size_px=224):
    """Random pixels as one raw file, where there is no tuwen to make them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".part").open("wb") as raw:
        for _ in range(n_images):
            raw.write(os.urandom(size_px**2 * 3))
    path.with_suffix(".part").rename(path)


def make_pictures(count):
    """The folder of web-like JPEGs that the peers show which decode; `decode_vs_seed.py` has the same."""
    import decode_vs_seed

    folder = CACHE / "bench-decode"
    decode_vs_seed.make_images(folder, count)
    return folder


def jpeg_corpus(binary, folder, n_images, n_pictures=1000):
    """The corpus of `n_images` of those pictures, decoded and stored as JPEG."""
    n_pictures = min(n_pictures, n_images)
    corpus, pictures = folder / f"{n_images}-of-{n_pictures}-pictures", make_pictures(n_pictures)
    if not (corpus / "examples").is_dir():
        make = [binary, "make", corpus, "--images", str(n_images), "--examples", str(n_images), "--pictures", pictures]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    return corpus


def run_peer(name, pythons, raw, pictures):
    """What the peer's script says of itself; None, and the reason on stderr, if it fails."""
    (script, *words), requirements = PEERS[name]
    command = [pythons[requirements], HERE / "peers" / script, raw, "--pictures", pictures, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PEER_TIMEOUT_SECS)
    except subprocess.TimeoutExpired:
        say(f"{name}: null: not done after {PEER_TIMEOUT_SECS} s")
        return None
    if done.returncode != 0:
        say(f"{name}: null: exit code {done.returncode}\n" + "\n".join(done.stderr.splitlines()[-8:]))
        return None
    return json.loads(done.stdout.splitlines()[-1])


def environments(names):
    """The Python of each requirements file that the peers `names` need."""
    pythons = {None: sys.executable}
    for requirements in {PEERS[name][1]: None for name in names if PEERS[name][1]}:
        pythons[requirements] = environment.python_with(HERE / "peers" / requirements)
    return pythons


def print_table(peers, own, ratios):
    """A line a peer: median, slowest and fastest epoch, how many times as fast the stream is; `ratios` are those of the limits."""
    say(f"\n{'':20}{'images/s':>10}{'from':>10}{'to':>10}{'tuwen':>8}  {'spread':>6}  version")
    for name, seen in sorted(peers.items(), key=lambda item: -(item[1] or {"images_per_s": 0})["images_per_s"]):
        if seen is None:
            say(f"{name:20}{'null':>10}")
            continue
        ours = own.get("jpeg_global" if name == "ffcv_jpeg" else "raw_global_1" if seen["workers"] < 2 else "raw_global")
        factor = ratios.get(name) or (statistics.median(ours) / seen["images_per_s"] if ours else None)
        factor = f"x {factor:.2f}" if factor else "-"
        say(f"{name:20}{seen['images_per_s']:10,.0f}{seen['slowest']:10,.0f}{seen['fastest']:10,.0f}{factor:>8}"
            f"  {seen.get('spread', ''):>6}  {seen['version']}")
    for name, values in own.items():
        low, high = min(values), max(values)
        say(f"{'tuwen ' + name:20}{statistics.median(values):10,.1f}{low:10,.1f}{high:10,.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", help="the binary of benches/stream_bench.rs; built if not given")
    parser.add_argument("--module", help="the library of pipeline/python; built if not given")
    parser.add_argument("--folder", type=pathlib.Path, default=CACHE / "bench-stream", help="where the corpus is made, once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--many", type=int, default=1_400_000, help="examples of the first-batch corpus; 0 leaves it out")
    parser.add_argument("--pictures", type=int, default=1000, help="JPEGs made for the peers that decode")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="these peers only [default: all]")
    parser.add_argument("--peers-only", action="store_true", help="without tuwen: nothing is built, no factors")
    args = parser.parse_args()
    corpus = args.folder / (f"{args.images}-peers" if args.peers_only else f"{args.images}")
    many = args.folder / f"{args.images}-{args.many}"
    raw = corpus / "pixels.raw"
    binary, module = args.bench, args.module
    if args.peers_only:
        binary = None
    elif not binary or not module:
        binary, module = build()
    pythons = environments(args.peers)

    def bench(*words):
        return json.loads(subprocess.run([binary, *map(str, words)], check=True, stdout=subprocess.PIPE).stdout)

    def measure(*words):
        return bench("measure", corpus, *words)["images_per_s"]

    def first_batch_s():
        found = bench("first-batch", many)
        if found["examples"] != args.many:
            sys.exit(f"{many}: expected {args.many} examples, found {found['examples']}\nhint: remove it, and it is made anew")
        return found["first_batch_s"]

    def growth_ratio(rows=20_000, size_px=64):
        folder = args.folder / f"growth-{rows}-{size_px}"
        return bench("growth", folder, "--rows", rows, "--size-px", size_px)["ratio"]

    if binary is None and not raw.exists():
        make_raw(raw, args.images)
    if binary and not (corpus / "examples").is_dir():
        bench("make", corpus, "--images", args.images, "--examples", args.images)
    if binary and args.many and not (many / "examples").is_dir():
        # As many images as examples, so the light columns are of full size; only the pixels are small.
        bench("make", many, "--images", args.many, "--examples", args.many, "--size-px", 8)
    pictures = make_pictures(min(args.pictures, args.images))
    jpeg = jpeg_corpus(binary, args.folder, args.images, args.pictures) if binary else None
    # Or the disk is still writing while the clock runs.
    os.sync()

    ways = {
        "raw_global_1": lambda: measure("--readers", "1"),
        "raw_global": lambda: measure("--readers", "2"),
        "raw_general": lambda: measure("--readers", "2", "--path", "general"),
        "raw_ranges": lambda: measure("--readers", "2", "--path", "ranges"),
        "raw_window": lambda: measure("--readers", "2", "--window", "4"),
        "jpeg_global": lambda: bench("measure", jpeg, "--readers", "2")["images_per_s"],
    }
    if args.many:
        ways["first_batch_s"] = first_batch_s
    own = {name: [] for name in ways} if binary else {}
    limits = {name: [] for name in LIMITS.values() if name in args.peers}
    of_python = {"rust": [], "python": []}

    for number in range(args.rounds):
        for name in own:
            # Each limit right beside the way of reading that it is compared with, in every other round before it.
            limit = LIMITS.get(name)
            turns = [lambda: own[name].append(ways[name]())]
            if limit in limits:
                turns.append(lambda: limits[limit].append(run_peer(limit, pythons, raw, pictures)))
            for turn in turns[:: -1 if number % 2 else 1]:
                turn()
            said = f", {limit}: {limits[limit][-1]['images_per_s']:,.1f}" if limits.get(limit, [None])[-1] else ""
            say(f"round {number + 1}/{args.rounds} {name}: {own[name][-1]:,.1f}{said}")

        if binary:
            rates = rust_and_python(binary, module, corpus, number)
            for name, rate in rates.items():
                of_python[name].append(rate)
            say(f"round {number + 1}/{args.rounds} python_global: {rates['python']:,.1f}, by Rust: {rates['rust']:,.1f}")
    if binary:
        own["python_global"] = of_python["python"]

    peers = {}
    for name in args.peers:
        rounds = [seen for seen in limits.get(name, []) if seen]
        if rounds:
            peers[name] = rounds[0] | {
                "images_per_s": statistics.median(seen["images_per_s"] for seen in rounds),
                "slowest": min(seen["slowest"] for seen in rounds),
                "fastest": max(seen["fastest"] for seen in rounds),
            }
            continue
        if binary:
            own["raw_global"].append(ways["raw_global"]())
        peers[name] = run_peer(name, pythons, raw, pictures)
        if peers[name]:
            say(f"{name}: {peers[name]['images_per_s']:,.1f}")

    # The machine is not equally fast all the time: the two of a round are compared, and the median of those ratios counts.
    ratios = {}
    for name, limit in LIMITS.items():
        of_rounds = [ours / seen["images_per_s"] for ours, seen in zip(own.get(name, []), limits.get(limit, [])) if seen]
        ratios[limit] = round(statistics.median(of_rounds), 3) if of_rounds else None
    print_table(peers, own, ratios)
    report = {name: round(statistics.median(values), 3 if name.endswith("_s") else None) for name, values in own.items()}
    rates = {name: seen and round(seen["images_per_s"]) for name, seen in peers.items()}
    report["memmap_ratio"], report["memmap_ratio_2"] = ratios["numpy_memmap"], ratios["numpy_memmap_2"]
    of_rounds = [python / rust for python, rust in zip(of_python["python"], of_python["rust"])]
    report["python_ratio"] = round(statistics.median(of_rounds), 3) if of_rounds else None
    report.setdefault("first_batch_s", None)
    report["growth_ratio"] = round(growth_ratio(), 2) if binary else None
    report["peers"] = rates
    report["versions"] = {name: seen and seen["version"] for name, seen in peers.items()}
    report["images"] = args.images
    report["rounds"] = args.rounds
    report["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
    print(json.dumps(report))


if __name__ == "__main__":
    main()
