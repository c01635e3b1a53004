"""Compares scores of captions with transformers: usage `score_losses.py FOLDER`, exit code 0 if all are equal.

Reads FOLDER/model (a checkpoint) and FOLDER/scored.jsonl, an object a line: `input_ids`, `pixels` (hex, RGB, square, of the model's
size), `loss`, `loss_without_image`, `image_id`. Each caption goes through transformers alone, once with its picture and once with the
mean of the encoder's states over all pictures, of which there are fewer than a sample has.
"""
import json
import pathlib
import sys

import torch
from torch.nn.functional import cross_entropy
from transformers import VisionEncoderDecoderModel
from transformers.modeling_outputs import BaseModelOutput

torch.set_num_threads(1)
folder = pathlib.Path(sys.argv[1])
model = VisionEncoderDecoderModel.from_pretrained(folder / "model").eval()
size = model.config.encoder.image_size


def loss(states, labels):
    with torch.no_grad():
        logits = model(encoder_outputs=BaseModelOutput(last_hidden_state=states), labels=labels).logits
    return cross_entropy(logits[0], labels[0]).item()


def encoded(line):
    picture = torch.frombuffer(bytearray.fromhex(line["pixels"]), dtype=torch.uint8).view(1, size, size, 3)
    with torch.no_grad():
        return model.encoder((picture.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5).last_hidden_state


lines = [json.loads(line) for line in (folder / "scored.jsonl").read_text().splitlines()]
states = {line["image_id"]: encoded(line) for line in lines}
sample = sorted(states)[:64]
mean = torch.stack([states[image_id] for image_id in sample]).mean(0)
gains = set()
for line in lines:
    labels = torch.tensor([line["input_ids"]])
    for name, theirs in (("loss", loss(states[line["image_id"]], labels)), ("loss_without_image", loss(mean, labels))):
        assert abs(theirs - line[name]) <= 1e-4 * max(1, theirs), f"{name}: {theirs} against {line[name]} of {line['input_ids']}"
    gains.add(round(line["loss_without_image"] - line["loss"], 3))
assert len(gains) > len(lines) // 2, f"the pictures make no difference: {gains}"
print("equal")
