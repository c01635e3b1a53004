"""What every peer's script shares: its arguments, its data set made once, checked and timed epochs, and the last line.

In: the pixels as one raw file, n x [224, 224, 3] u8, as `benches/stream_bench.rs make` writes them. Out: as the last line of
stdout one JSON object: `images_per_s`, and what was measured. An epoch is an iterable of batches (ids, pixels): ids int64 [b],
the row's number in the raw file; pixels u8 [b, 224, 224, 3]. Never measures the making of a data set or the first epoch.

The first epoch warms up and proves the batches: one contiguous array each, every row once, the pixels those of the raw file.
From its ids comes `spread`, the mean distance of neighbours in a batch, in parts of the data set: 0.33 for a global shuffle, less
where a batch is of a few chunks or a window.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import time

import numpy as np


def arguments(doc, more=(), **defaults):
    """The arguments, with `pixels`, the raw file as an array [n, s, s, 3], and `n`. `more` are (flag, options) of the script's own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=pathlib.Path, help="the raw file of pixels; a peer's data set is made beside it")
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2, help="processes or threads, whichever the peer has")
    parser.add_argument("--epochs", type=int, default=5, help="timed epochs (slices, where the script says so)")
    parser.add_argument("--pictures", type=pathlib.Path, help="a folder of JPEGs, for the peers that decode")
    for flag, options in more:
        parser.add_argument(flag, **options)
    parser.set_defaults(**defaults)
    args = parser.parse_args()
    args.pixels = np.memmap(args.raw, np.uint8, "r").reshape(-1, args.size_px, args.size_px, 3)
    args.n = len(args.pixels)
    return args


def made_once(args, name, make):
    """The path of the peer's data set beside the raw file; `make(path)` writes it if it is not there, and all or nothing."""
    path = args.raw.with_name(f"{args.raw.name}.{name}")
    if not path.exists():
        part = path.with_name(f"{path.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.unlink(missing_ok=True)
        make(part)
        part.rename(path)
        # Or the disk is still writing while the clock runs.
        os.sync()
    return path


def pictures(args):
    """The files that the peers show which decode: row i is picture i modulo their number."""
    if args.pictures is None:
        raise SystemExit("expected --pictures FOLDER, found none")
    files = sorted(args.pictures.glob("*.jpg"))[:args.n]
    if not files:
        raise SystemExit(f"{args.pictures}: expected *.jpg, found none")
    return files


def check(args, epoch, exact, shape, dtype):
    """Runs `epoch` and proves its batches; the spread of their rows."""
    seen = []
    for ids, pixels in epoch:
        ids, pixels = np.asarray(ids), np.asarray(pixels)
        assert ids.shape == (len(pixels),) and pixels.shape[1:] == shape, f"expected [b, {shape}], found {pixels.shape}"
        assert pixels.dtype == dtype and pixels.flags.c_contiguous, f"expected contiguous {dtype}, found {pixels.dtype}"
        if exact:
            assert all(np.array_equal(row, args.pixels[i]) for i, row in zip(ids, pixels)), "pixels are not those of the raw file"
        seen.append(ids.copy())
    assert max(map(len, seen)) == args.batch_size, f"expected batches of {args.batch_size}, found {max(map(len, seen))}"
    order = np.concatenate(seen)
    assert np.array_equal(np.sort(order), np.arange(args.n)), f"expected every one of {args.n} rows once, found {len(order)} rows"
    return float(np.mean(np.concatenate([np.abs(np.diff(ids)) for ids in seen])) / args.n)


def rate(batches, n):
    """Images/s of an epoch of `n` images."""
    begun = time.perf_counter()
    seen = sum(len(pixels) for _, pixels in batches)
    seconds = time.perf_counter() - begun
    assert seen == n, f"expected {n} images, found {seen}"
    return n / seconds


def slice_rates(batches, n, slices):
    """Images/s of `slices` equal parts of one epoch, for peers whose epochs are long."""
    rates, seen, since, begun = [], 0, 0, time.perf_counter()
    for _, pixels in batches:
        seen += len(pixels)
        if seen >= n * (len(rates) + 1) // slices:
            now = time.perf_counter()
            rates.append((seen - since) / (now - begun))
            since, begun = seen, now
    assert seen == n, f"expected {n} images, found {seen}"
    return rates


def measure(args, epoch, version, *, sliced=False, exact=True, shape=None, dtype=np.uint8):
    """Checks the first of the epochs that `epoch(number)` opens, times the others, and prints the last line."""
    shape = shape or args.pixels.shape[1:]
    spread = check(args, epoch(0), exact, shape, dtype)
    if sliced:
        rates = slice_rates(epoch(1), args.n, args.epochs)
    else:
        rates = [rate(epoch(1 + number), args.n) for number in range(args.epochs)]
    report(rates, version, spread=round(spread, 3), images=args.n, batch_size=args.batch_size, workers=args.workers)


def report(rates, version, **facts):
    """Prints the last line. The process ends here: what a peer's threads do afterwards does not count."""
    figures = {"images_per_s": round(statistics.median(rates), 1), "slowest": round(min(rates), 1), "fastest": round(max(rates), 1)}
    print(json.dumps({**figures, "version": version, **facts}), flush=True)


def no_network():
    """Tells the libraries that ask a server at import or at open not to."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", LITDATA_DISABLE_VERSION_CHECK="1", DO_NOT_TRACK="1")
