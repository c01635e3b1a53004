"""Compares an export with the corpus, by the libraries that others read one with. In: the format, which pictures, the export's folder, and
a Parquet file of the pairs with original bytes and pixels, as SQL has them. Out: one line, or the first row that differs, and exit code
1. Never writes but to the cache of `datasets`, which the caller names."""

import hashlib
import io
import json
import re
import sys
import tarfile
from pathlib import Path

import datasets
import duckdb
import numpy as np
import pyarrow.parquet as pq
import webdataset
from PIL import Image

FIELDS = ("image_id", "split", "text", "raw_text", "url", "filename", "source", "source_line")


def from_webdataset(folder: Path):
    """Rows as webdataset gives them; names in the tars, tables and counts beside them are looked at by hand."""
    for split in sorted(path for path in folder.iterdir() if path.is_dir()):
        shards = sorted(split.glob("*.tar"))
        assert [shard.stem for shard in shards] == [f"{n:05}" for n in range(len(shards))], shards
        for shard in shards:
            with tarfile.open(shard) as tar:
                names = tar.getnames()
                assert all(member.isreg() for member in tar), shard
            assert all(re.fullmatch(r"\d{9}\.[a-z0-9]+", name) for name in names), names
            table = pq.read_table(shard.with_suffix(".parquet")).to_pylist()
            counts = json.loads(shard.with_name(f"{shard.stem}_stats.json").read_text())
            samples = list(webdataset.WebDataset(str(shard), shardshuffle=False))
            assert len(samples) == len(table) == counts["successes"] == counts["count"], shard
            for place, (sample, row) in enumerate(zip(samples, table)):
                said = json.loads(sample["json"])
                assert said == row, (said, row)
                assert sample["__key__"] == said["key"] == f"{shard.stem}{place:04}", said
                (end,) = (key for key in sample if not key.startswith("__") and key not in ("json", "txt"))
                assert said["caption"] == sample["txt"].decode(), said
                renamed = {"text": said["caption"], "raw_text": said["raw_caption"], "end": end}
                yield said | renamed | {"file": sample[end], "stored_size": (said["width"], said["height"])}


def from_huggingface(folder: Path):
    """Rows as `datasets` gives them: pictures as pictures, and their files."""
    data = datasets.load_dataset(str(folder))
    assert set(data) <= {"train", "validation", "test"}, data
    for split, rows in data.items():
        assert isinstance(rows.features["image"], datasets.Image), rows.features
        assert isinstance(rows[0]["image"], Image.Image), rows[0]
        for row in rows.cast_column("image", datasets.Image(decode=False)):
            image = row.pop("image")
            yield row | {"split": split, "file": image["bytes"], "end": image["path"].rsplit(".")[-1]}


def from_parquet(folder: Path):
    """Rows as DuckDB gives them; pyarrow says the comments."""
    files = sorted((folder / "data").glob("*.parquet"))
    for field in pq.read_schema(files[0]):
        assert field.metadata[b"comment"], field
    relation = duckdb.sql(f"select * from read_parquet({[str(file) for file in files]!r})")
    for values in relation.fetchall():
        row = dict(zip(relation.columns, values))
        yield row | {"file": row.pop("image")}


def squares(file: bytes) -> np.ndarray:
    """The pixels of a PNG."""
    image = Image.open(io.BytesIO(file))
    assert (image.format, image.mode) == ("PNG", "RGB"), image
    return np.asarray(image)


def stored(codec: str, value: bytes, size: tuple[int, int]) -> np.ndarray:
    """What `images.pixels` says."""
    if codec == "jpeg":
        return np.asarray(Image.open(io.BytesIO(value)))
    return np.frombuffer(value, np.uint8).reshape(*size, 3)


def main(form: str, pictures: str, folder: Path, expected: Path) -> None:
    """Compares every row."""
    wanted = {row["example_id"]: row for row in pq.read_table(expected).to_pylist()}
    n_rows, ends = 0, set()
    for row in globals()[f"from_{form}"](folder):
        want = wanted.pop(row["example_id"])
        n_rows += 1
        for field in FIELDS:
            assert row[field] == want[field], (field, row[field], want[field])
        assert row["sha256"] == hashlib.sha256(row["file"]).hexdigest()
        if pictures == "original":
            assert row["file"] == want["bytes"], row["example_id"]
            size = (want["width"], want["height"])
        else:
            size = (want["size_px"], want["size_px"])
            pixels = stored(want["codec"], want["pixels"], size)
            assert np.array_equal(squares(row["file"]), pixels), row["example_id"]
        assert row.get("stored_size", size) == size, row
        ends.add(row.get("end"))
    assert not wanted, f"{len(wanted)} pairs are missing, such as {next(iter(wanted.values()))['text']}"
    print(f"{n_rows} rows, {sorted(end for end in ends if end)}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
