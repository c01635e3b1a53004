"""The same PyTorch training step fed by the original's loader, by a DataLoader over a memory map, by FFCV, and by tuwen; and the
stream by Python beside the stream by Rust.

One machine, one run, page cache warm, batches of 64 of the same pixels, two workers or readers. The feeds take turns, each in a
process of its own, several rounds; the median counts. What is measured is in the docstrings of `peers/training_step.py` and
`peers/tuwen_python.py`. A feed that cannot be installed, fails or hangs is null, with the reason on stderr.

Progress goes to stderr; the last line of stdout is one JSON object: `python_ratio` (images/s of the stream by Python over those by
Rust, the median of the rounds), and `images_per_s` and `wait_percent` of each feed.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import stream_vs_peers as stream

# Each feed, and the requirements of its environment (none: the project's own).
FEEDS = {"seed": "requirements.txt", "memmap": None, "ffcv": "requirements.txt", "tuwen": None, "none": None}

# A feed that hangs ends here; the seed's loader takes some four minutes.
TIMEOUT_SECS = 1800


def step(feed, pythons, raw, corpus, pictures, steps, module):
    """What the step says of itself; None, and the reason on stderr, if it fails."""
    script = stream.HERE / "peers/training_step.py"
    command = [pythons[FEEDS[feed]], script, raw, "--feed", feed, "--corpus", corpus, "--pictures", pictures, "--steps", str(steps)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECS, env=stream.with_module(module))
    except subprocess.TimeoutExpired:
        stream.say(f"{feed}: null: not done after {TIMEOUT_SECS} s")
        return None
    if done.returncode != 0:
        stream.say(f"{feed}: null: exit code {done.returncode}\n" + "\n".join(done.stderr.splitlines()[-8:]))
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", help="the binary of benches/stream_bench.rs; built if not given")
    parser.add_argument("--module", help="the library of pipeline/python; built if not given")
    parser.add_argument("--folder", type=pathlib.Path, default=stream.CACHE / "bench-stream", help="where the corpus is made, once")
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--pictures", type=int, default=1000, help="JPEGs made for the seed's loader")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--feeds", nargs="*", choices=FEEDS, default=list(FEEDS), help="these only [default: all]")
    args = parser.parse_args()
    binary, module = (args.bench, args.module) if args.bench and args.module else stream.build()
    corpus = args.folder / f"{args.images}"
    if not (corpus / "examples").is_dir():
        subprocess.run([binary, "make", corpus, "--images", str(args.images), "--examples", str(args.images)], check=True)
    # Only the seed's loader reads picture files.
    pictures = stream.make_pictures(min(args.pictures, args.images)) if "seed" in args.feeds else args.folder
    pythons = {None: sys.executable}
    if any(FEEDS[feed] for feed in args.feeds):
        pythons["requirements.txt"] = stream.environment.python_with(stream.HERE / "peers/requirements.txt")
    os.sync()

    ratios, seen = [], {feed: [] for feed in args.feeds}
    for number in range(args.rounds):
        rates = stream.rust_and_python(binary, module, corpus, number)
        ratios.append(rates["python"] / rates["rust"])
        stream.say(f"round {number + 1}/{args.rounds} stream: Rust {rates['rust']:,.0f}, Python {rates['python']:,.0f} images/s")
        for feed in args.feeds[:: -1 if number % 2 else 1]:
            if number and not seen[feed]:
                continue
            found = step(feed, pythons, corpus / "pixels.raw", corpus, pictures, args.steps, module)
            if found:
                seen[feed].append(found)
                stream.say(f"round {number + 1}/{args.rounds} {feed}: {found['images_per_s']:,.1f} images/s, waited {found['wait_percent']} %")

    def median(figure):
        return {feed: round(statistics.median(f[figure] for f in found), 2) if found else None for feed, found in seen.items()}

    print(json.dumps({
        "python_ratio": round(statistics.median(ratios), 3),
        "images_per_s": median("images_per_s"),
        "wait_percent": median("wait_percent"),
        "versions": {feed: found[0]["version"] if found else None for feed, found in seen.items()},
        "images": args.images,
        "rounds": args.rounds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
    }))


if __name__ == "__main__":
    main()
