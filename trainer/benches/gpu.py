"""Training on a GPU: the original's model in bf16, tuwen beside PyTorch, with the loader and without it. At most 9 minutes.

In: the binaries `tuwen` and `tuwen-trainer`, which may have been built elsewhere; no network. Pictures are made (4,096 JPEGs of noise
with the spectrum of photos), a corpus of raw pixels and one of JPEGs. Out: lines for people on stderr; the last line of stdout is one
JSON object. For steps of 48 x 8 and of 384 x 1 examples:

* `step_ms`: tuwen's optimizer step on batches that lie in memory; `pytorch_step_ms`: that of PyTorch eager with transformers,
  `sdpa` attention, autocast to bf16, gradient clipping, fused AdamW; `compiled_step_ms`: the same model under `torch.compile`.
* `raw` and `jpeg`: `compute_images_per_s`, `loader_images_per_s`, `together_images_per_s`, `data_wait_percent` on either corpus.
* `attention_kernels`: which kernels the profiler saw for the attentions of the model's shapes. tuwen calls the same function of the
  same libtorch, so they are its own.

What cannot be measured (`torch.compile` without a compiler, say) is null, with the reason on stderr. `--small` tries all of it in a
minute on a CPU, with a model of preset tiny in f32.
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
sys.path.insert(0, str(ROOT / "pipeline/cli/benches"))
TOKENS = 16


def say(line):
    print(line, file=sys.stderr, flush=True)


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def make_corpora(tuwen, tokenizer, folder, n):
    """A corpus of raw pixels, and one of JPEGs that shares its originals."""
    import joblib
    from decode_vs_seed import web_like

    images = folder / "images"
    images.mkdir()
    files = [images / f"{i}.jpg" for i in range(n)]
    joblib.Parallel(-1)(joblib.delayed(lambda i, path: path.write_bytes(web_like(i)))(i, path) for i, path in enumerate(files))
    rows = [f"一张照片里有第{i}个图案和一些颜色,{i}.jpg" for i in range(n)]
    (folder / "train.csv").write_text("text,filename\n" + "\n".join(rows) + "\n", encoding="utf-8")
    # Pictures of noise are alike; here all are wanted.
    common = ["--set", "curate.near_difference=0", "--tokenizer", tokenizer]
    raw, jpeg = folder / "raw", folder / "jpeg"
    run(tuwen, "run", folder / "train.csv", "--corpus", raw, "--image-dir", images, *common)
    run(tuwen, "decode", "--corpus", jpeg, "--originals-of", raw, "--set", "decode.codec=jpeg")
    run(tuwen, "curate", "--corpus", jpeg, *common)
    return raw, jpeg


class Theirs:
    """The same model in PyTorch, its step as transformers' `Trainer` makes it."""

    def __init__(self, device, small):
        sizes = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, image_size=224, patch_size=16)
        decoder = dict(n_embd=768, n_layer=12, n_head=12, vocab_size=21_129)
        ids = dict(bos_token_id=1, eos_token_id=2)
        if small:
            sizes = dict(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512, image_size=64, patch_size=16)
            decoder = dict(n_embd=128, n_layer=2, n_head=4, vocab_size=1_000)
        config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**sizes), GPT2Config(**decoder, **ids))
        config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
        config._attn_implementation = "sdpa"
        self.device, self.side, self.vocabulary = device, sizes["image_size"], decoder["vocab_size"]
        self.model = VisionEncoderDecoderModel(config).to(device).train()
        self.called = self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=5e-5, weight_decay=0.1, fused=True)
        heads = sizes["num_attention_heads"]
        self.attentions = {"encoder": (heads, sizes["hidden_size"] // heads, (self.side // 16) ** 2 + 1)}

    def compile(self):
        self.called = torch.compile(self.model)

    def step(self, pixels, labels, accumulation):
        for _ in range(accumulation):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                loss = self.called(pixel_values=pixels, labels=labels).loss / accumulation
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def step_ms(self, batch, accumulation, steps, rounds=3):
        pixels = torch.randn(batch, 3, self.side, self.side, device=self.device)
        labels = torch.randint(self.vocabulary, (batch, TOKENS), device=self.device)
        times = []
        for round_ in range(rounds + 1):  # the first warms up
            self.wait()
            begun = time.perf_counter()
            for _ in range(steps):
                self.step(pixels, labels, accumulation)
            self.wait()
            times.append(1e3 * (time.perf_counter() - begun) / steps)
        return statistics.median(times[1:])

    def attention_kernels(self, batch):
        """Names of the kernels that ran for one attention of the encoder, forward and backward."""
        heads, width, tokens = self.attentions["encoder"]
        kind = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        q, k, v = (torch.randn(batch, heads, tokens, width, device=self.device, dtype=kind, requires_grad=True) for _ in range(3))
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self.device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as profile:
            torch.nn.functional.scaled_dot_product_attention(q, k, v).sum().backward()
            self.wait()
        names = {event.key for event in profile.key_averages()}
        return sorted(name for name in names if any(word in name.lower() for word in ("flash", "fmha", "cudnn_generated", "efficient")))


def ours(trainer, corpus, tokenizer, batch, accumulation, steps, small, device):
    settings = dict(batch_size=batch, grad_accumulation=accumulation, precision="f32" if small else "bf16", readers=max(2, os.cpu_count() - 2))
    command = [trainer, "bench", "--corpus", corpus, "--preset", "tiny" if small else "scratch", "--tokenizer", tokenizer,
               "--steps", steps, "--warmup", 1, "--device", device.type, "--json"]
    for key, value in settings.items():
        command += ["--set", f"train.{key}={value}"]
    return json.loads(run(*command))


def attempt(what, measure):
    try:
        return measure()
    except Exception as error:  # whatever is missing here: a compiler, memory
        say(f"{what}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuwen", help="the binary tuwen; not needed with --corpora")
    parser.add_argument("--trainer", required=True, help="the binary tuwen-trainer")
    parser.add_argument("--tokenizer", default=str(ROOT / "data/sample/tokenizer.json"))
    parser.add_argument("--corpora", nargs=2, metavar=("RAW", "JPEG"), help="corpora that are there already")
    parser.add_argument("--images", type=int, default=4_096)
    parser.add_argument("--small", action="store_true", help="a small model on the CPU")
    args = parser.parse_args()
    if not args.small and not torch.cuda.is_available():
        raise SystemExit("expected a CUDA device, found none\nhint: --small tries all of it on the CPU")
    device = torch.device("cpu" if args.small else "cuda")
    shapes = [(8, 2), (16, 1)] if args.small else [(48, 8), (384, 1)]
    steps = 1 if args.small else 5
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        corpora = args.corpora or make_corpora(args.tuwen, args.tokenizer, pathlib.Path(folder), args.images)
        say(f"corpora: {time.perf_counter() - begun:.0f} s")
        results = []
        for batch, accumulation in shapes:
            result = {"batch": batch, "accumulation": accumulation}
            for name, corpus in zip(("raw", "jpeg"), corpora):
                figures = ours(args.trainer, corpus, args.tokenizer, batch, accumulation, steps, args.small, device)
                result[name] = {key: figures[key] for key in (
                    "compute_images_per_s", "loader_images_per_s", "together_images_per_s", "data_wait_percent")}
                result["step_ms"] = min(figures["step_ms"], result.get("step_ms", float("inf")))
                result["memory_mib"] = figures["cuda_memory_mib"] or figures["peak_memory_mib"]
            theirs = attempt("PyTorch eager", lambda: Theirs(device, args.small))
            result["pytorch_step_ms"] = attempt("PyTorch eager", lambda: theirs.step_ms(batch, accumulation, steps))
            result["attention_kernels"] = attempt("profiler", lambda: theirs.attention_kernels(batch))
            result["compiled_step_ms"] = None
            if not args.small:
                theirs.compile()
                result["compiled_step_ms"] = attempt("torch.compile", lambda: theirs.step_ms(batch, accumulation, steps))
            del theirs
            for key in ("pytorch", "compiled"):
                other = result[f"{key}_step_ms"]
                result[f"step_ratio_vs_{key}"] = round(result["step_ms"] / other, 3) if other else None
            say(f"{batch} x {accumulation}: step {result['step_ms']:.1f} ms, PyTorch {result['pytorch_step_ms']}, compiled "
                f"{result['compiled_step_ms']}; together {result['raw']['together_images_per_s']:.0f} images/s")
            results.append(result)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    print(json.dumps({"device": name, "step_ratio_vs_pytorch": results[0]["step_ratio_vs_pytorch"],
                      "images_per_s": results[-1]["raw"]["together_images_per_s"],
                      "data_wait_percent": results[-1]["raw"]["data_wait_percent"], "runs": results}))


if __name__ == "__main__":
    main()
