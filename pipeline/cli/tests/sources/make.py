#!/usr/bin/env python3
"""Writes files/: the same rows as CSV, TSV, JSON lines and Parquet, in the encodings and the packings that sources come in, and
expected.json, the rows of `pairs` that all of them are, with ids computed here. Python's codecs, csv, json, gzip and pyarrow write
them; the answers under `clean` are written by hand.

    .venv/bin/python pipeline/cli/tests/sources/make.py
"""

import csv
import gzip
import hashlib
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

FOLDER = Path(__file__).parent

# Letters that are the same in both Chinese scripts, so that GB 18030 and Big5 have them: text, URL, file name, and the URL as it is
# to be fetched.
ROWS = [
    ("白色的小狗在草地上", "http://img.example.com/a/1.jpg", "train-1.jpg", "http://img.example.com/a/1.jpg"),
    ("木桌上的水果, 早上的天空", " http://img.example.com/b?w=1&amp;h=2 ", "a/2.jpg", "http://img.example.com/b?w=1&h=2"),
    ("黑色手提包", "//img.example.com/c/3.jpg", "", "https://img.example.com/c/3.jpg"),
    ("她\"只\"有一半", "http://img.example.com/d/4.jpg", "4.jpg", "http://img.example.com/d/4.jpg"),
    ("日本富士山\n冬天", "http://img.example.com/e/5.jpg", "5.jpg", "http://img.example.com/e/5.jpg"),
    ("", "http://img.example.com/f/6.jpg", "6.jpg", "http://img.example.com/f/6.jpg"),
    ("白色瓷杯", "", "7.jpg", None),
    ("白色的小狗在草地上", "http://img.example.com/a/1.jpg", "train-1.jpg", "http://img.example.com/a/1.jpg"),
]


def table(delimiter, header=True, end="\r\n"):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    if header:
        writer.writerow(["text", "url", "filename"])
    writer.writerows(row[:3] for row in ROWS)
    return out.getvalue()


def expected():
    seen, rows = {}, []
    for text, url, filename, clean in ROWS:
        content = "\x1f".join([text, url.strip(), filename, ""])
        k = seen[content] = seen.get(content, -1) + 1
        pair_id = hashlib.sha256(f"{content}\x1f{k}".encode()).hexdigest()[:32]
        rows.append([pair_id, text, clean or "null", filename or "null"])
    return sorted(rows)


def main():
    files = FOLDER / "files"
    files.mkdir(exist_ok=True)

    def write(name, data):
        (files / name).write_bytes(data)

    text = table(",")
    for codec in ["utf-8", "gb18030", "gbk", "big5", "utf-16-le", "utf-16-be"]:
        write(f"{codec}.csv", text.encode(codec))
    write("utf-8-sig.csv", text.encode("utf-8-sig"))
    write("utf-16.csv", text.encode("utf-16"))  # with a byte order mark
    write("semicolon.csv", table(";", end="\n").encode())
    write("tab.csv", table("\t").encode("gb18030"))
    write("tab.tsv", table("\t").encode())
    write("tab.tsv.gz", gzip.compress(table("\t").encode("utf-16"), mtime=0))
    write("header-less.tsv", table("\t", header=False).encode())
    objects = [dict(zip(["CAPTION", "url", "file_name"], row[:3])) | {"similarity": 0.3} for row in ROWS]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in objects)
    write("objects.jsonl", lines.encode())
    write("objects.txt", lines.encode("gb18030"))
    with pyarrow.CompressedOutputStream(str(files / "objects.ndjson.zst"), "zstd") as out:
        out.write("\n".join(json.dumps(row) for row in objects).encode())
    columns = {
        "SAMPLE_ID": pyarrow.array(range(len(ROWS)), pyarrow.int64()),
        "URL": pyarrow.array([row[1] for row in ROWS]),
        "TEXT": pyarrow.array([row[0] for row in ROWS], pyarrow.large_string()),
        "filename": pyarrow.array([row[2] or None for row in ROWS]).dictionary_encode(),
        "NSFW": pyarrow.array(["UNLIKELY"] * len(ROWS)),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), files / "laion.snappy.parquet", row_group_size=3)
    pyarrow.parquet.write_table(pyarrow.table(columns), files / "gzip.parquet", compression="gzip", data_page_version="2.0")
    (FOLDER / "expected.json").write_text(json.dumps(expected(), ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
