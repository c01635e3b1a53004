"""Compares scores of captions with transformers: usage `score_losses.py FOLDER`, exit code 0 if all are equal.

Reads FOLDER/model (a checkpoint) and FOLDER/scored.jsonl, an object a line: `input_ids`, `pixels` (hex, RGB, square, of the model's
size), `loss`, `loss_without_image`. Each caption goes through transformers alone, once with its picture and once with an even grey
one, the mean that the model's processor subtracts.
"""
import json
import pathlib
import sys

import torch
from torch.nn.functional import cross_entropy
from transformers import VisionEncoderDecoderModel

torch.set_num_threads(1)
folder = pathlib.Path(sys.argv[1])
model = VisionEncoderDecoderModel.from_pretrained(folder / "model").eval()
size = model.config.encoder.image_size


def loss(pixels, labels):
    with torch.no_grad():
        logits = model(pixel_values=pixels, labels=labels).logits
    return cross_entropy(logits[0], labels[0]).item()


lines = (folder / "scored.jsonl").read_text().splitlines()
gains = set()
for line in map(json.loads, lines):
    picture = torch.frombuffer(bytearray.fromhex(line["pixels"]), dtype=torch.uint8).view(1, size, size, 3)
    pixels = (picture.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    labels = torch.tensor([line["input_ids"]])
    for name, theirs in (("loss", loss(pixels, labels)), ("loss_without_image", loss(torch.zeros_like(pixels), labels))):
        assert abs(theirs - line[name]) <= 1e-4 * max(1, theirs), f"{name}: {theirs} against {line[name]} of {line['input_ids']}"
    gains.add(round(line["loss_without_image"] - line["loss"], 3))
assert len(gains) > len(lines) // 2, f"the pictures make no difference: {gains}"
print("equal")
