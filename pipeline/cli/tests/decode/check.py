"""Compares decoded pixels with PIL. In: a folder of fixtures and a folder of raw pixels, each of 224*224*3 bytes and named
after its fixture with `.rgb` at the end. Out: the largest difference of each file, and exit code 1 if one is past its
tolerance, or a file is missing. Never writes."""

import sys
from pathlib import Path

import numpy as np

import truth


def main(fixtures: Path, raw: Path) -> int:
    """The number of files that differ too much."""
    bad = 0
    files = [path for path in sorted(fixtures.iterdir()) if not path.name.startswith("bad_")]
    for path in files:
        wanted = truth.pixels(path)
        found = raw / f"{path.name}.rgb"
        if not found.exists():
            print(f"{path.name:36} missing")
            bad += 1
            continue
        got = np.fromfile(found, np.uint8).reshape(wanted.shape)
        difference = np.abs(got.astype(int) - wanted.astype(int))
        allowed = truth.tolerance(path.name)
        verdict = "" if difference.max() <= allowed else f"  more than {allowed}"
        bad += bool(verdict)
        print(f"{path.name:36} max {difference.max():3} mean {difference.mean():.4f}{verdict}")
    print(f"{len(files)} files, {bad} of them differ too much")
    return bad


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1]), Path(sys.argv[2])) else 0)
