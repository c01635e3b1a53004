"""Times the decode stage against the seed's filter step, on the same files, in one run.

In: a folder of JPEGs, or none: then 4,000 web-like ones are made once and kept in the user's cache. Out: a table on stderr, and as
the last line of stdout one JSON object: `images_per_s`, its spread, `seed_images_per_s`, `ratio`, `decode_alone_images_per_s`,
`max_abs_diff_vs_pil`.

* The seed's step (`seed_filter.py`): joblib with 2 processes over PIL open, `convert("RGB")` and transformers'
  `ViTImageProcessor` to float32; nothing is stored. The pool has done all files once when the clock starts.
* tuwen's: `tuwen decode`, from the start of the process to the committed images table. The originals were fetched before.
* The limit: PIL only decodes the files, with the same 2 processes, which is libjpeg-turbo's time; nothing is resized or stored.

Both run on the same 2 cores, in turns, three times each; the medians count. Then every stored pixel is compared with PIL.
Never changes the folder of JPEGs.
"""

import argparse
import csv
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
import pyarrow.parquet
from PIL import Image

import seed_filter

SIZE = (224, 224)
# Widths and heights of pictures on the web; their mean area is 0.45 Mpx.
SIZES = [(500, 500), (600, 450), (640, 640), (750, 500), (800, 600)]
SIZES += [(800, 800), (1024, 683), (550, 733), (640, 480), (658, 987)]


def say(line: str) -> None:
    """A line for people."""
    print(line, file=sys.stderr, flush=True)


def noise(rng: np.random.Generator, width: int, height: int, octaves: int) -> np.ndarray:
    """Noise of `octaves` octaves [height, width], each with 0.68 of the one before: about the spectrum of photos."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = 3 << octave
        grid = Image.fromarray(rng.normal(0, 50 * 0.68**octave, (cells, cells)).astype(np.float32))
        total += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
    return total


def web_like(number: int) -> bytes:
    """A JPEG as the web has them: fine brightness, coarse colours, five straight edges."""
    rng = np.random.default_rng(number)
    width, height = SIZES[number % len(SIZES)]
    brightness = noise(rng, width, height, octaves=8)
    levels = np.dstack([128 + brightness + 0.4 * noise(rng, width, height, octaves=4) for _ in range(3)])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(5):
        (a, b), (right, down) = rng.normal(0, 1, 2), rng.uniform(0, 1, 2)
        levels[a * (x / width - right) + b * (y / height - down) > 0] += rng.normal(0, 25, 3)
    picture = Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=int(rng.integers(70, 90)), subsampling=2 if number % 5 else 0)
    return out.getvalue()


def make_images(folder: Path, count: int) -> None:
    """Makes the pictures that are not there yet; each is renamed into place when it is whole."""

    def make(number: int) -> None:
        path = folder / f"train-{number}.jpg"
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(web_like(number))
            part.rename(path)

    folder.mkdir(parents=True, exist_ok=True)
    joblib.Parallel(n_jobs=2)(joblib.delayed(make)(number) for number in range(count))


def time_seed(pool: joblib.Parallel, files: list[str]) -> float:
    """Seconds of the seed's step."""
    start = time.perf_counter()
    kept = pool(joblib.delayed(seed_filter.keeps)(path) for path in files)
    seconds = time.perf_counter() - start
    assert all(kept), f"the seed's step dropped {kept.count(False)} of {len(files)} files"
    return seconds


def time_alone(pool: joblib.Parallel, files: list[str]) -> float:
    """Seconds that decoding alone takes."""
    start = time.perf_counter()
    pool(joblib.delayed(seed_filter.decodes)(path) for path in files)
    return time.perf_counter() - start


def fetch(tuwen: str, files: list[str], corpus: Path, work: Path) -> None:
    """A corpus with the originals of `files`."""
    rows = work / "bench.csv"
    with rows.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "url", "filename"])
        writer.writerows([[f"图{i}", "", Path(path).name] for i, path in enumerate(files)])
    folder = str(Path(files[0]).parent)
    run([tuwen, "fetch", str(rows), "--image-dir", folder, "--corpus", str(corpus)])


def run(command: list[str]) -> None:
    """Runs a command; what it prints goes to stderr."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")


def time_tuwen(tuwen: str, corpus: Path) -> float:
    """Seconds of `tuwen decode` on a corpus that has originals and no images."""
    start = time.perf_counter()
    run([tuwen, "decode", "--corpus", str(corpus)])
    return time.perf_counter() - start


def stored_pixels(corpus: Path):
    """Image id and pixels of every row of the images table, by its transaction log."""
    live = {}
    for entry in sorted((corpus / "images/_delta_log").glob("*.json")):
        for action in map(json.loads, entry.read_text().splitlines()):
            if "add" in action:
                live[action["add"]["path"]] = True
            elif "remove" in action:
                live.pop(action["remove"]["path"], None)
    for name in live:
        for batch in pyarrow.parquet.ParquetFile(corpus / "images" / name).iter_batches(64, columns=["image_id", "pixels"]):
            for row in batch.to_pylist():
                yield row["image_id"], row["pixels"]


def compare(corpus: Path, files: list[str]) -> tuple[int, float, int]:
    """Largest and mean difference between stored pixels and PIL's, and how many pictures were compared."""
    by_id = {hashlib.sha256(Path(path).read_bytes()).hexdigest()[:32]: path for path in files}
    worst, total, seen = 0, 0.0, 0
    for image_id, pixels in stored_pixels(corpus):
        with Image.open(by_id[image_id]) as image:
            wanted = np.asarray(image.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR))
        assert pixels is not None, f"{by_id[image_id]}: rejected"
        difference = np.abs(np.frombuffer(pixels, np.uint8).reshape(wanted.shape).astype(np.int16) - wanted)
        worst, total, seen = max(worst, int(difference.max())), total + float(difference.mean()), seen + 1
    assert seen == len(by_id), f"expected {len(by_id)} rows in images, found {seen}"
    return worst, total / seen, seen


def main() -> None:
    """The measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tuwen", default="tuwen", help="the command")
    parser.add_argument("--images", type=Path, help="a folder of JPEGs [default: web-like ones, made once]")
    parser.add_argument("--count", type=int, default=4000, help="pictures")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each")
    parser.add_argument("--cores", type=int, default=2, help="cores both may use")
    args = parser.parse_args()

    cores = sorted(os.sched_getaffinity(0))[: args.cores]
    os.sched_setaffinity(0, cores)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = args.images or cache / "tuwen/bench-decode"
    if args.images is None:
        make_images(folder, args.count)
    files = [str(path) for path in sorted(folder.glob("*.jpg"))[: args.count]]
    if not files:
        sys.exit(f"{folder}: expected *.jpg, found none")
    sizes = [Image.open(path).size for path in files]
    mpx = statistics.mean(width * height for width, height in sizes) / 1e6
    kb = statistics.mean(os.path.getsize(path) for path in files) / 1e3
    say(f"{len(files)} JPEGs, mean {mpx:.2f} Mpx and {kb:.0f} kB; cores {cores}")

    seed_seconds, tuwen_seconds, alone_seconds = [], [], []
    with tempfile.TemporaryDirectory() as work, joblib.Parallel(n_jobs=len(cores)) as pool:
        base = Path(work) / "originals"
        fetch(args.tuwen, files, base, Path(work))
        say(f"warm-up: seed {time_seed(pool, files):.2f} s")
        for i in range(args.rounds):
            seed_seconds.append(time_seed(pool, files))
            alone_seconds.append(time_alone(pool, files))
            corpus = Path(work) / f"round-{i}"
            shutil.copytree(base, corpus)
            os.sync()
            tuwen_seconds.append(time_tuwen(args.tuwen, corpus))
            say(
                f"round {i + 1}: seed {seed_seconds[-1]:.2f} s, tuwen decode {tuwen_seconds[-1]:.2f} s, "
                f"decoding alone {alone_seconds[-1]:.2f} s"
            )
            if i + 1 < args.rounds:
                shutil.rmtree(corpus)
        worst, mean, seen = compare(corpus, files)

    seed_rate = len(files) / statistics.median(seed_seconds)
    tuwen_rate = len(files) / statistics.median(tuwen_seconds)
    say(f"{'':24}{'images/s':>10}{'spread':>16}")
    for name, seconds in (
        ("the seed's filter step", seed_seconds),
        ("tuwen decode", tuwen_seconds),
        ("decoding alone", alone_seconds),
    ):
        rates = [len(files) / s for s in seconds]
        say(f"{name:24}{statistics.median(rates):10.0f}{min(rates):10.0f}-{max(rates):.0f}")
    say(f"ratio {tuwen_rate / seed_rate:.2f}; {seen} pictures differ from PIL by at most {worst} of 255, {mean:.4f} on average")
    print(json.dumps({
        "images_per_s": round(tuwen_rate, 1),
        "images_per_s_spread": [round(len(files) / s, 1) for s in (max(tuwen_seconds), min(tuwen_seconds))],
        "seed_images_per_s": round(seed_rate, 1),
        "ratio": round(tuwen_rate / seed_rate, 2),
        "decode_alone_images_per_s": round(len(files) / statistics.median(alone_seconds), 1),
        "max_abs_diff_vs_pil": worst,
    }))


if __name__ == "__main__":
    main()
