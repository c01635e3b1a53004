"""Compares a model whose encoder has published weights with transformers: usage `real_encoder.py FOLDER ENCODER`.

Reads FOLDER/model (a checkpoint that was started from the folder ENCODER) and FOLDER/given.safetensors (inputs and the trainer's
logits).
"""
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import ViTModel, VisionEncoderDecoderModel

folder = pathlib.Path(sys.argv[1])
given = load_file(folder / "given.safetensors")
model, info = VisionEncoderDecoderModel.from_pretrained(folder / "model", output_loading_info=True)
assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
model.eval()
with torch.no_grad():
    # Published in 16 bits, which transformers would also compute in.
    encoder = ViTModel.from_pretrained(sys.argv[2], dtype=torch.float32).eval()
    published = encoder(given["pixels"]).last_hidden_state
    worst = (model.encoder(given["pixels"]).last_hidden_state - published).abs().max().item()
    assert worst <= 1e-4, f"encoder's states: {worst}"
    worst = (model(pixel_values=given["pixels"], labels=given["labels"]).logits - given["logits"]).abs().max().item()
    assert worst <= 1e-4, f"logits: {worst}"
