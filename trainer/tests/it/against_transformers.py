"""Compares a folder the trainer wrote with transformers: usage `against_transformers.py FOLDER`, exit code 0 if all is equal.

Reads FOLDER/model (a checkpoint), FOLDER/given.safetensors (inputs and the trainer's results) and FOLDER/cases.json
(captions the trainer generated). Writes the same weights in the other forms transformers has, for the trainer to read back.
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, GenerationConfig, GPT2LMHeadModel, ViTForImageClassification, ViTImageProcessor, VisionEncoderDecoderModel

torch.set_num_threads(1)
folder = pathlib.Path(sys.argv[1])
given = load_file(folder / "given.safetensors")
cases = json.loads((folder / "cases.json").read_text())


def check(name, condition, detail=""):
    assert condition, f"{name}: {detail}"


model, info = VisionEncoderDecoderModel.from_pretrained(folder / "model", output_loading_info=True)
for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
    check(kind, not info[kind], info[kind])
model.eval()
n_parameters = sum(p.numel() for p in model.parameters())
check("parameters", n_parameters == cases["n_parameters"], f"{n_parameters} against {cases['n_parameters']}")

processor = ViTImageProcessor.from_pretrained(folder / "model")
size = model.config.encoder.image_size
check("processor", processor.size["height"] == size and list(processor.image_mean) == [0.5] * 3, processor)
tokenizer = AutoTokenizer.from_pretrained(folder / "model")
check("tokens", (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == tuple(cases["ids"]), tokenizer)

# Forward, loss and gradients.
pixels, labels = given["pixels"], given["labels"]
out = model(pixel_values=pixels, labels=labels)
worst = (out.logits - given["logits"]).abs().max().item()
check("logits", worst <= 1e-4, worst)
for name, these in (("loss", labels), ("loss_with_padding", labels.masked_fill(labels == -100, model.config.pad_token_id))):
    loss = model(pixel_values=pixels, labels=these).loss.item()
    ours = given[name].item()
    check(name, abs(loss - ours) <= 1e-5 * abs(loss), f"{loss} against {ours}")
larger = model(pixel_values=given["larger.pixels"], labels=labels, interpolate_pos_encoding=True).logits
worst = (larger - given["larger.logits"]).abs().max().item()
check("logits of larger pictures", worst <= 1e-4, worst)
out.loss.backward()
V4 = [("layers.", "encoder.layer."), ("attention.q_proj", "attention.attention.query"), ("attention.k_proj", "attention.attention.key"),
      ("attention.v_proj", "attention.attention.value"), ("attention.o_proj", "attention.output.dense"),
      ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense")]
for name, parameter in model.named_parameters():
    if name.startswith("encoder.layers."):
        for new, old in V4:
            name = name.replace(new, old, 1)
    ours = given["grad." + name]
    theirs = torch.zeros_like(ours) if parameter.grad is None else parameter.grad
    # A bias of keys has no effect on attention, its gradient is rounding alone: hence the floor.
    error = (ours - theirs).norm().item() / max(theirs.norm().item(), 1e-2)
    check(f"gradient of {name}", error <= 1e-4, error)

# Generation.
def cut(row):
    end = model.config.eos_token_id
    return row[: row.index(end) + 1] if end in row else row


for case in cases["generate"]:
    options = {key: value for key, value in case.items() if key not in ("sequences", "scores")}
    ids = model.generate(pixels, do_sample=False, return_dict_in_generate=True, output_scores=True, **options)
    # What comes after the end is filler, and not always the padding token: beam search takes a padding id of 0 for none.
    theirs = [cut(row) for row in ids.sequences.tolist()]
    check(f"generate {options}", case["sequences"] == theirs, f"\n{case['sequences']} against\n{theirs}")
    if options["num_beams"] > 1:
        worst = max(abs(a - b) / max(1, abs(b)) for a, b in zip(case["scores"], ids.sequences_scores.tolist()))
        check(f"scores {options}", worst <= 1e-4, worst)
for i, case in enumerate(cases["processed"]):
    options = GenerationConfig(**case)
    options._eos_token_tensor = torch.tensor([model.config.eos_token_id])
    processors = model._get_logits_processor(options, input_ids_seq_length=1, device="cpu")
    theirs = processors(given[f"processed.{i}.ids"], given[f"processed.{i}.scores"])
    check(f"processed scores {case}", torch.equal(given[f"processed.{i}"], theirs), f"\n{given[f'processed.{i}']} against\n{theirs}")
for case in cases["text"]:
    text = tokenizer.decode(case["ids"], skip_special_tokens=True)
    joined = "".join(c for i, c in enumerate(text) if c != " " or (text[i - 1].isascii() and text[i + 1].isascii()))
    check("text", joined == case["text"], f"{joined} against {case['text']}")

# 20 optimizer steps: transformers' grouping, clipping, cosine with warm-up, accumulation of two batches, a frozen encoder.
from transformers import get_cosine_schedule_with_warmup
from transformers.trainer_pt_utils import get_parameter_names

for run in cases["runs"]:
    model = VisionEncoderDecoderModel.from_pretrained(folder / "model").eval()
    decaying = set(get_parameter_names(model, [torch.nn.LayerNorm], [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]))
    groups = [{"params": [p for n, p in model.named_parameters() if (n in decaying) == d], "weight_decay": run["weight_decay"] * d} for d in (True, False)]
    optimizer = torch.optim.AdamW(groups, lr=run["lr"], betas=(0.9, 0.999), eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, run["warmup_steps"], len(run["losses"]))
    halves = list(zip(pixels.chunk(2), labels.chunk(2)))
    for step, ours in enumerate(run["losses"]):
        model.encoder.requires_grad_(step >= run["frozen_steps"])
        total = 0.0
        for half_pixels, half_labels in halves:
            # As `Trainer` does: the mean over the tokens of all halves, of which the second has fewer.
            loss = model(pixel_values=half_pixels, labels=half_labels).loss * (half_labels != -100).sum() / (labels != -100).sum()
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), run["max_grad_norm"])
        optimizer.step()
        schedule.step()
        model.zero_grad()
        check(f"loss of step {step}, {run['frozen_steps']} frozen", abs(total - ours) <= 1e-4 * max(1, total), f"{total} against {ours}")

# The same weights in other forms.
model = VisionEncoderDecoderModel.from_pretrained(folder / "model")
model.save_pretrained(folder / "sharded", max_shard_size="20KB")
model.to(torch.bfloat16).save_pretrained(folder / "bf16")
model = VisionEncoderDecoderModel.from_pretrained(folder / "model")
for name, weights in (("pickled", model.state_dict()), ("pickled-plain", {k: v.half() for k, v in model.state_dict().items()})):
    (folder / name).mkdir()
    torch.save(weights, folder / name / "pytorch_model.bin")  # version 5's names; the first with `_metadata`
classifier = ViTForImageClassification(model.config.encoder)
classifier.vit.load_state_dict(model.encoder.state_dict(), strict=False)
classifier.half().save_pretrained(folder / "encoder")
plain = GPT2LMHeadModel(type(model.config.decoder)(**{**model.config.decoder.to_dict(), "add_cross_attention": False, "is_decoder": False}))
plain.load_state_dict(model.decoder.state_dict(), strict=False)
plain.save_pretrained(folder / "decoder")
print("equal")
