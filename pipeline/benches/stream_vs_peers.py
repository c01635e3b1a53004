"""The stream against its peers: one machine, one run, the same bytes, page cache warm, contenders interleaved, medians.

Each contender is a process of its own that warms up for one epoch and then times three. The stream's batches are whole (ids,
pixels, padded captions); the peers' are pixels only. Progress goes to stderr; the last line of stdout is one JSON object.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def build():
    """The binary of benches/stream_bench.rs, built in the profile that everything else is built in."""
    command = ["cargo", "build", "--workspace", "--bench", "stream_bench", "--message-format=json"]
    built = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = map(json.loads, built.splitlines())
    return next(m["executable"] for m in messages if m.get("target", {}).get("name") == "stream_bench")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", help="the binary of benches/stream_bench.rs; built if not given")
    parser.add_argument("--folder", default="/tmp/tuwen-bench-stream-v2", help="where the corpus is made, once (2.5 GB)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--many", type=int, default=1_400_000, help="examples of the first-batch corpus; 0 leaves it out")
    args = parser.parse_args()
    binary = args.bench or build()
    corpus = pathlib.Path(args.folder) / f"{args.images}"
    jpeg = pathlib.Path(args.folder) / f"{args.images}-jpeg"
    many = pathlib.Path(args.folder) / f"{args.images}-{args.many}"

    def bench(*words):
        return json.loads(subprocess.run([binary, *map(str, words)], check=True, capture_output=True).stdout)

    def peer(name, *words):
        command = [sys.executable, HERE / "peers" / f"{name}.py", corpus / "pixels.raw", *words]
        return float(subprocess.run(command, check=True, capture_output=True).stdout.split()[-1])

    def measure(*words):
        return bench("measure", corpus, *words)["images_per_s"]

    if not (corpus / "examples").is_dir():
        bench("make", corpus, "--images", args.images, "--examples", args.images)
    if not (jpeg / "examples").is_dir():
        bench("make", jpeg, "--images", args.images, "--examples", args.images, "--jpeg")
    if args.many and not (many / "examples").is_dir():
        # As many images as examples, so the light columns are of full size; only the pixels are small.
        bench("make", many, "--images", args.many, "--examples", args.many, "--size-px", 8)

    contenders = {
        "raw_global_1": lambda: measure("--readers", "1"),
        "numpy_memmap": lambda: peer("numpy_memmap"),
        "raw_global": lambda: measure("--readers", "2"),
        "numpy_memmap_2": lambda: peer("numpy_memmap", "--threads", "2"),
        "raw_general": lambda: measure("--readers", "2", "--path", "general"),
        "raw_ranges": lambda: measure("--readers", "2", "--path", "ranges"),
        "raw_window": lambda: measure("--readers", "2", "--window", "4"),
        "jpeg_global": lambda: bench("measure", jpeg, "--readers", "2")["images_per_s"],
    }
    if importlib.util.find_spec("torch"):
        contenders["torch_dataloader"] = lambda: peer("torch_dataloader", "--workers", "2")
        contenders["torch_dataloader_0"] = lambda: peer("torch_dataloader", "--workers", "0")
    if importlib.util.find_spec("datasets"):
        contenders["hf_datasets"] = lambda: peer("hf_datasets")
    if args.many:
        contenders["first_batch_s"] = lambda: bench("first-batch", many)["first_batch_s"]

    seen = {name: [] for name in contenders}
    for number in range(args.rounds):
        for name, run in contenders.items():
            seen[name].append(run())
            print(f"round {number + 1}/{args.rounds} {name}: {seen[name][-1]:,.1f}", file=sys.stderr)
    median = {name: statistics.median(values) for name, values in seen.items()}
    for name, values in seen.items():
        print(f"{name:20} median {median[name]:12,.2f}   from {min(values):,.2f} to {max(values):,.2f}", file=sys.stderr)
    peers = {name: round(value) for name, value in median.items() if name.startswith(("numpy", "torch", "hf"))}
    report = {name: round(median[name]) for name in ("raw_global_1", "raw_global", "raw_general", "raw_ranges", "raw_window", "jpeg_global")}
    report["memmap_ratio"] = round(median["raw_global_1"] / median["numpy_memmap"], 3)
    report["memmap_ratio_2"] = round(median["raw_global"] / median["numpy_memmap_2"], 3)
    report["first_batch_s"] = round(median["first_batch_s"], 3) if args.many else None
    report["peers"] = peers
    report["rounds"] = args.rounds
    report["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
    print(json.dumps(report))


if __name__ == "__main__":
    main()
