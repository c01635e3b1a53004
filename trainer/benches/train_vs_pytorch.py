"""A training step and captioning, tuwen against PyTorch eager with transformers: same weights, machine, threads, batch.

The model is written once as a `VisionEncoderDecoderModel` folder with random weights, and both sides load it. Rounds of the two
sides alternate; the median of each counts. Theirs is what `Trainer` does in a step: forward and backward with `sdpa` attention,
gradient clipping, fused AdamW. On a CUDA device both sides compute in bf16 the original's model (ViT-B/16, GPT-2), at batches of
64 and 256. The last line is one JSON object: `step_ratio_vs_pytorch` (our time over theirs), `caption_ratio_vs_pytorch` (our
speed over theirs), `device`, and the figures behind them.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from transformers import GPT2Config, ViTConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKENS, BEAMS, MAX_LENGTH, CAPTIONS = 16, 4, 16, 64


def sizes(cuda):
    """The seed's model on a GPU, a small one on a CPU; no dropout, so that both compute the same."""
    encoder, decoder = (dict(hidden_size=768, num_attention_heads=12, intermediate_size=3072), dict(n_embd=768, n_layer=12, n_head=12))
    if not cuda:
        encoder, decoder = (dict(hidden_size=384, num_attention_heads=6, intermediate_size=1536), dict(n_embd=384, n_layer=6, n_head=6))
    encoder = ViTConfig(num_hidden_layers=12, image_size=224, patch_size=16, **encoder)
    decoder = GPT2Config(vocab_size=21_128, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=101, eos_token_id=102, **decoder)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = 101, 102, 0
    return config


class Theirs:
    def __init__(self, folder, device, batch):
        self.device, self.batch = device, batch
        self.model = VisionEncoderDecoderModel.from_pretrained(folder, attn_implementation="sdpa").to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=5e-5, weight_decay=0.1, fused=True)
        generator = torch.Generator().manual_seed(0)
        # What a DataLoader with a ViTImageProcessor would give: normalised floats.
        self.pixels = torch.randn(batch, 3, 224, 224, generator=generator).to(device)
        self.labels = torch.randint(0, 21_128, (batch, TOKENS), generator=generator).to(device)
        self.pictures = torch.randn(CAPTIONS, 3, 224, 224, generator=generator).to(device)

    def autocast(self):
        return torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda")

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def step(self):
        with self.autocast():
            loss = self.model(pixel_values=self.pixels, labels=self.labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def steps_ms(self, n):
        self.model.train()
        self.wait()
        begun = time.perf_counter()
        for _ in range(n):
            self.step()
        self.wait()
        return 1e3 * (time.perf_counter() - begun) / n

    def captions_per_s(self):
        self.model.eval()
        begun = time.perf_counter()
        with torch.no_grad(), self.autocast():
            ids = self.model.generate(self.pictures, num_beams=BEAMS, max_length=MAX_LENGTH, do_sample=False)
        assert ids.shape[0] == CAPTIONS, ids.shape
        return CAPTIONS / (time.perf_counter() - begun)


def ours(binary, folder, tokenizer, batch, threads, cuda, steps, captions):
    command = [binary, "bench", "--synthetic", "--json", "--model", folder, "--tokenizer", tokenizer, "--steps", str(steps),
               "--warmup", "2", "--tokens", str(TOKENS), "--captions", str(captions), "--device", "cuda" if cuda else "cpu"]
    settings = dict(threads=threads, batch_size=batch, grad_accumulation=1, num_beams=BEAMS, generate_max_length=MAX_LENGTH,
                    precision="bf16" if cuda else "f32")
    for key, value in settings.items():
        command += ["--set", f"train.{key}={value}"]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(out)


def compare(binary, folder, tokenizer, device, batch, threads, rounds, steps, captions):
    theirs = Theirs(folder, device, batch)
    theirs.steps_ms(2)
    if captions:
        theirs.captions_per_s()
    ours_ms, theirs_ms, ours_captions, theirs_captions = [], [], [], []
    memory = {}
    for round_ in range(rounds):
        theirs_ms.append(theirs.steps_ms(steps))
        if captions:
            theirs_captions.append(theirs.captions_per_s())
        figures = ours(binary, folder, tokenizer, batch, threads, device.type == "cuda", steps, captions)
        ours_ms.append(figures["step_ms"])
        ours_captions.append(figures["caption_images_per_s"] or 0)
        memory = {"ours_cuda_mib": figures["cuda_memory_mib"], "ours_peak_rss_mib": figures["peak_memory_mib"]}
        print(f"round {round_ + 1} of {rounds}, batch {batch}: step {ours_ms[-1]:.1f} ms against {theirs_ms[-1]:.1f} ms"
              + (f", captions {ours_captions[-1]:.1f}/s against {theirs_captions[-1]:.1f}/s" if captions else ""), file=sys.stderr)
    if device.type == "cuda":
        memory["theirs_cuda_mib"] = torch.cuda.max_memory_reserved() / 2**20
    a, b = statistics.median(ours_ms), statistics.median(theirs_ms)
    result = {"batch": batch, "step_ms": a, "pytorch_step_ms": b, "images_per_s": 1e3 * batch / a, "pytorch_images_per_s": 1e3 * batch / b,
              "step_ratio_vs_pytorch": a / b, **memory}
    if captions:
        a, b = statistics.median(ours_captions), statistics.median(theirs_captions)
        result |= {"captions_per_s": a, "pytorch_captions_per_s": b, "caption_ratio_vs_pytorch": a / b}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", required=True, help="the binary tuwen-trainer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="optimizer steps of a round of theirs; ours takes the median of five such")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tokenizer", default=str(ROOT / "trainer/tests/it/tokenizer.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        VisionEncoderDecoderModel(sizes(cuda)).save_pretrained(folder)
        batches = [64, 256] if cuda else [16]
        results = [compare(args.trainer, folder, args.tokenizer, device, batch, args.threads, args.rounds, args.steps,
                           CAPTIONS if batch == batches[0] else 0) for batch in batches]
    first = results[0]
    name = torch.cuda.get_device_name() if cuda else f"CPU, {args.threads} threads"
    print(json.dumps({"step_ratio_vs_pytorch": round(first["step_ratio_vs_pytorch"], 3),
                      "caption_ratio_vs_pytorch": round(first["caption_ratio_vs_pytorch"], 3), "device": name,
                      "runs": [{k: round(v, 3) if isinstance(v, float) else v for k, v in r.items()} for r in results]}))


if __name__ == "__main__":
    main()
