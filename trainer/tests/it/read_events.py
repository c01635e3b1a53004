"""Compares a run's event files with its log: usage `read_events.py OUT CORPUS PREDICTIONS`, exit code 0 if all is equal.

Reads OUT/runs with TensorBoard's own reader (which checks every record's checksum): every figure of OUT/log.jsonl must be
there, and the first predictions with the pictures the corpus has of them.
"""
import io
import json
import pathlib
import sys

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

out, corpus, predictions = map(pathlib.Path, sys.argv[1:])
everything = {"scalars": 0, "images": 0, "tensors": 0}
events = EventAccumulator(str(out / "runs"), size_guidance=everything).Reload()

expected = {}
for line in (out / "log.jsonl").read_text().splitlines():
    figures = json.loads(line)
    step = figures.pop("step")
    for key, value in figures.items():
        if value is not None:
            tag = key.replace("eval_", "eval/", 1) if key.startswith("eval_") else f"train/{key}"
            expected.setdefault(tag, {})[step] = float(np.float32(value))  # what a resumed run says again counts
found = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
assert found == {tag: sorted(steps.items()) for tag, steps in expected.items()}, f"expected {expected}, found {found}"
assert len(expected) > 15, expected.keys()

pixels = {}
for path in (corpus / "images").glob("*.parquet"):
    rows = pq.read_table(path, columns=["image_id", "size_px", "pixels"]).to_pylist()
    pixels.update({row["image_id"]: (row["size_px"], row["pixels"]) for row in rows})
kinds = [set(events.Tags()[kind]) for kind in everything]
assert sum(map(len, kinds)) == len(set.union(*kinds)), f"expected one kind of value a tag, found {kinds}"  # TensorBoard shows the first

shown = [json.loads(line) for line in predictions.read_text().splitlines()][:8]
assert sorted(events.Tags()["images"]) == [f"eval/picture_{n + 1}" for n in range(len(shown))], events.Tags()
for n, prediction in enumerate(shown):
    event = events.Images(f"eval/picture_{n + 1}")[-1]
    size_px, expected_pixels = pixels[prediction["image_id"]]
    assert (event.width, event.height) == (size_px, size_px)
    assert np.asarray(Image.open(io.BytesIO(event.encoded_image_string))).tobytes() == expected_pixels, n

assert events.Tags()["tensors"] == ["eval/samples"], events.Tags()
assert events.SummaryMetadata("eval/samples").plugin_data.plugin_name == "text"
table = events.Tensors("eval/samples")[-1].tensor_proto.string_val[0].decode().splitlines()
rows = [f"{n + 1} | {p['caption']} | {'; '.join(p['references'])}" for n, p in enumerate(shown)]
assert table == ["picture | caption | references", "---|---|---", *rows], table
