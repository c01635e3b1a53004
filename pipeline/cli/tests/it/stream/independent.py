"""Reads a split of a corpus with nothing but the Delta log's JSON and pyarrow.

In: a corpus's folder, a split. Out, on stdout: one JSON object, example id -> [SHA-256 of its image's pixels, token ids].
Fails if a checksum in `pixels_crc32` is not zlib's.
"""

import hashlib
import json
import sys
import zlib
from pathlib import Path

import pyarrow.parquet as pq


def rows(table: Path, columns: list[str]):
    """The rows of a Delta table at its newest version (the log has no checkpoint yet)."""
    live = {}
    for commit in sorted(table.glob("_delta_log/*.json")):
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                live[action["add"]["path"]] = True
            elif "remove" in action:
                live.pop(action["remove"]["path"], None)
    for path in live:
        yield from pq.read_table(table / path, columns=columns).to_pylist()


def main(corpus: Path, split: str) -> None:
    sums = {}
    for image in rows(corpus / "images", ["image_id", "pixels", "pixels_crc32", "reject_reason"]):
        if image["reject_reason"] is None:
            assert zlib.crc32(image["pixels"]) == image["pixels_crc32"], image["image_id"]
            sums[image["image_id"]] = hashlib.sha256(image["pixels"]).hexdigest()
    examples = rows(corpus / "examples", ["example_id", "image_id", "split", "input_ids"])
    json.dump({e["example_id"]: [sums[e["image_id"]], e["input_ids"]] for e in examples if e["split"] == split}, sys.stdout)


main(Path(sys.argv[1]), sys.argv[2])
