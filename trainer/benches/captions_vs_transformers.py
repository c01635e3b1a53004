"""Whether tuwen's captions are as good as those of transformers: the same small recipe in both, on the same corpus.

CORPUS is a curated corpus whose pictures have the encoder's size, ENCODER the folder of a ViT. A fresh decoder of four layers is
trained beside the frozen encoder, once a seed, by `tuwen train`, and by transformers' `VisionEncoderDecoderModel` with the batches,
schedule and fused AdamW that its `Trainer` would have: same sizes, rates, labels and tokens a step; initial values, dropout and the order
of the examples are drawn by each side from the seed. Both read the split `train`, and caption the same pictures of `test` with the same
beams. The loss is nats a token, CIDEr-D that of pycocoevalcap on characters, for both.

Lines on stderr are the loss curves. What is done already in OUT is not done again, so a run that was stopped may be started again with
the same arguments. The last line is one JSON object; `agree`: the means over seeds of test loss and CIDEr-D differ by no more
than the seeds of either side do among themselves.
"""
import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

import pyarrow.parquet
import torch
from pycocoevalcap.cider.cider import Cider
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, VisionEncoderDecoderModel, ViTModel
from transformers.modeling_outputs import BaseModelOutput

POINTS, ENCODED_AT_ONCE, IGNORED = 20, 32, -100
RECIPE = dict(batch_size=16, grad_accumulation=1, lr=1e-3, warmup_ratio=0.1, weight_decay=0.05, max_grad_norm=1.0, max_length=48, num_beams=4,
              generate_max_length=24, drop_last=True, decoder_layers=4, decoder_width=256, decoder_heads=4, decoder_dropout=0.1,
              initializer_range=0.02)


def say(line):
    print(line, file=sys.stderr, flush=True)


def characters(caption):
    return " ".join(c for c in caption.lower() if not c.isspace())


def cider(captions, references):
    captions = {i: [characters(caption)] for i, caption in enumerate(captions)}
    references = {i: [characters(r) for r in of_image] for i, of_image in enumerate(references)}
    return float(Cider().compute_score(references, captions)[0])


class Ours:
    """`tuwen train` and `tuwen evaluate`."""

    def __init__(self, args):
        self.args = args

    def tuwen(self, *arguments):
        command = [self.args.tuwen, *map(str, arguments)]
        return subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout

    def rows(self, name, query):
        """The rows of a query, as a Parquet file."""
        path = self.args.out / f"{name}.parquet"
        if not path.exists():
            self.tuwen("sql", "--corpus", self.args.corpus, "-o", path, query)
        return pyarrow.parquet.ParquetFile(path)

    def trained(self, seed):
        args, out = self.args, self.args.out / f"tuwen-{seed}"
        recipe = dict(RECIPE, steps=args.steps, seed=seed, threads=args.threads, freeze_encoder_steps=1_000_000_000, cache_encoder=True,
                      eval_captions=0, eval_examples=1, log_every=args.window, save_total_limit=1)
        sets = [word for key, value in recipe.items() for word in ("--set", f"train.{key}={json.dumps(value)}")]
        common = ["--corpus", args.corpus, "--device", "cpu"]
        summary = self.tuwen("train", "--preset", "tiny", *common, "--encoder", args.encoder, "--tokenizer", args.tokenizer, "--out", out,
                             "--resume", "auto", "--json", *sets)
        predictions = out / "predictions.jsonl"
        figures = json.loads(self.tuwen("evaluate", *common, "--model", out, "--examples", 0, "--captions", args.captions, "--predictions",
                                        predictions, "--json", "--set", f"train.threads={args.threads}"))
        log = map(json.loads, (out / "log.jsonl").read_text().splitlines())
        curve = {line["step"]: line["loss"] for line in log if "loss" in line}
        said = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
        score = cider([one["caption"] for one in said], [one["references"] for one in said])
        assert math.isclose(score, figures["cider"], rel_tol=1e-6), (score, figures)
        config = json.loads((pathlib.Path(json.loads(summary)["checkpoint"]) / "config.json").read_text())
        return {"curve": [curve[step] for step in sorted(curve)], "test_loss": figures["loss"], "cider": score}, said, config


class Theirs:
    """The same in transformers. The encoder is frozen and has no dropout, so its states are computed once, and kept as f16."""

    def __init__(self, args, ours, config):
        self.args, self.config = args, config
        self.tokenizer = Tokenizer.from_file(str(args.tokenizer))
        splits = "split in ('train', 'test')"
        examples = ours.rows("examples", f"select split, image_id, input_ids from examples where {splits} order by example_id")
        self.examples = {"train": [], "test": []}
        for row in examples.read().to_pylist():
            self.examples[row["split"]].append((row["image_id"], self.labels(row["input_ids"])))
        pictures = f"select image_id, size_px, codec, pixels from images where image_id in (select image_id from examples where {splits})"
        self.states = self.encoded(ours.rows("pictures", pictures))

    def labels(self, ids):
        """As training has them: cut, and with an end."""
        end, ids = self.config["eos_token_id"], ids[: RECIPE["max_length"]]
        return ids if ids[-1:] == [end] else ids[: RECIPE["max_length"] - 1] + [end]

    def encoded(self, pictures):
        encoder = ViTModel.from_pretrained(self.args.encoder, add_pooling_layer=False).eval()
        how = json.loads((self.args.encoder / "preprocessor_config.json").read_text())
        mean, std = (torch.tensor(how[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
        side, states = encoder.config.image_size, {}
        for batch in pictures.iter_batches(batch_size=ENCODED_AT_ONCE):
            rows = batch.to_pylist()
            for row in rows:
                if (row["size_px"], row["codec"]) != (side, "raw"):
                    raise SystemExit(f"expected pictures of {side} px in codec raw, found {row['size_px']} px in {row['codec']}")
            levels = torch.stack([torch.frombuffer(bytearray(row["pixels"]), dtype=torch.uint8).view(side, side, 3) for row in rows])
            with torch.no_grad():
                found = encoder((levels.permute(0, 3, 1, 2) * how["rescale_factor"] - mean) / std).last_hidden_state.half()
            states.update({row["image_id"]: state.clone() for row, state in zip(rows, found)})
        return states

    def batch(self, examples):
        """States `[b, s, d]` and labels `[b, t]` of some examples."""
        longest = max(len(ids) for _, ids in examples)
        labels = torch.tensor([ids + [IGNORED] * (longest - len(ids)) for _, ids in examples])
        return self.of_images(image_id for image_id, _ in examples), labels

    def of_images(self, image_ids):
        return BaseModelOutput(last_hidden_state=torch.stack([self.states[image_id] for image_id in image_ids]).float())

    def trained(self, seed, said):
        torch.manual_seed(seed)
        encoder = ViTModel.from_pretrained(self.args.encoder, add_pooling_layer=False)
        model = VisionEncoderDecoderModel(encoder=encoder, decoder=GPT2LMHeadModel(GPT2Config(**self.config["decoder"])))
        for key in ("decoder_start_token_id", "pad_token_id", "eos_token_id"):
            setattr(model.config, key, self.config[key])
            setattr(model.generation_config, key, self.config[key])
        model.encoder.requires_grad_(False)
        curve = self.train(model, seed)
        model.eval()
        return {"curve": curve, "test_loss": self.test_loss(model), "cider": self.cider(model, said)}

    def train(self, model, seed):
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        plain = [p for name, p in named if name.endswith("bias") or ".ln_" in name]
        decaying = [p for name, p in named if not (name.endswith("bias") or ".ln_" in name)]
        groups = [{"params": decaying, "weight_decay": RECIPE["weight_decay"]}, {"params": plain, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=RECIPE["lr"], fused=True)
        steps, warmup = self.args.steps, math.ceil(RECIPE["warmup_ratio"] * self.args.steps)

        def rate(step):
            return step / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        model.train()
        batches, curve, window = self.batches(seed), [], []
        for step in range(1, steps + 1):
            states, labels = self.batch(next(batches))
            loss = self.loss(model, states, labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for _, p in named], RECIPE["max_grad_norm"])
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            window.append((loss.item(), (labels != IGNORED).sum().item()))
            if step % self.args.window == 0 or step == steps:
                curve.append(sum(loss * n for loss, n in window) / sum(n for _, n in window))
                window = []
        return curve

    def batches(self, seed):
        """Epoch after epoch, each in another order, without a short last batch."""
        examples, size = self.examples["train"], RECIPE["batch_size"]
        if len(examples) < size:
            raise SystemExit(f"expected at least {size} examples in split train, found {len(examples)}")
        generator = torch.Generator().manual_seed(seed)
        while True:
            order = torch.randperm(len(examples), generator=generator).tolist()
            for begin in range(0, len(order) - size + 1, size):
                yield [examples[i] for i in order[begin : begin + size]]

    def loss(self, model, states, labels, reduction="mean"):
        logits = model(encoder_outputs=states, labels=labels).logits
        return cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction=reduction)

    def test_loss(self, model):
        total, n_tokens, examples = 0.0, 0, self.examples["test"]
        with torch.no_grad():
            for begin in range(0, len(examples), ENCODED_AT_ONCE):
                states, labels = self.batch(examples[begin : begin + ENCODED_AT_ONCE])
                total += self.loss(model, states, labels, "sum").item()
                n_tokens += (labels != IGNORED).sum().item()
        return total / n_tokens

    def cider(self, model, said):
        """Of captions of the pictures that tuwen captioned."""
        captions = []
        for begin in range(0, len(said), ENCODED_AT_ONCE):
            states = self.of_images(one["image_id"] for one in said[begin : begin + ENCODED_AT_ONCE])
            ids = model.generate(encoder_outputs=states, num_beams=RECIPE["num_beams"], max_length=RECIPE["generate_max_length"], do_sample=False)
            captions += [self.tokenizer.decode(row, skip_special_tokens=True) for row in ids.tolist()]
        return cider(captions, [one["references"] for one in said])


def once(path, make):
    """What `make` gives, or has given when it was called before."""
    if not path.exists():
        path.write_text(json.dumps(make()))
    return json.loads(path.read_text())


def agree(ours, theirs, figure):
    """Whether the sides differ in the mean by no more than seeds do; none with one seed."""
    if len(ours) < 2:
        return None
    ours, theirs = ([one[figure] for one in side] for side in (ours, theirs))
    spread = max(max(side) - min(side) for side in (ours, theirs))
    return abs(statistics.mean(ours) - statistics.mean(theirs)) <= spread


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuwen", required=True, help="the binary tuwen, with tuwen-trainer beside it")
    parser.add_argument("--corpus", required=True, help="a curated corpus")
    parser.add_argument("--encoder", type=pathlib.Path, required=True, help="the folder of a ViT")
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, help="the tokenizer.json that the corpus was curated with")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where all is made")
    parser.add_argument("--steps", type=int, default=300, help="optimizer steps of 16 pairs")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each side")
    parser.add_argument("--captions", type=int, default=256, help="pictures of test to caption")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    args.window = max(1, args.steps // POINTS)
    torch.set_num_threads(args.threads)
    ours = Ours(args)
    runs = [ours.trained(seed) for seed in range(args.seeds)]
    side = Theirs(args, ours, runs[0][2])
    results = {"tuwen": [figures for figures, _, _ in runs], "transformers": []}
    for seed, (_, said, _) in enumerate(runs):
        path = args.out / f"transformers-{seed}-{args.steps}-{args.captions}.json"
        results["transformers"].append(once(path, lambda: side.trained(seed, said)))
    say("loss of training, mean over seeds\n      step     tuwen  transformers")
    curves = {name: [statistics.mean(points) for points in zip(*(run["curve"] for run in of_side))] for name, of_side in results.items()}
    for point, (a, b) in enumerate(zip(curves["tuwen"], curves["transformers"])):
        say(f"{min(args.steps, (point + 1) * args.window):10}{a:10.4f}{b:14.4f}")
    rounded = {name: {"curve": [round(loss, 4) for loss in curves[name]], **{figure: [round(run[figure], 4) for run in of_side]
               for figure in ("test_loss", "cider")}} for name, of_side in results.items()}
    print(json.dumps({"agree": {figure: agree(*results.values(), figure) for figure in ("test_loss", "cider")}, **rounded,
                      "steps": args.steps, "seeds": args.seeds, "captions": len(runs[0][1]), "train": len(side.examples["train"]),
                      "test": len(side.examples["test"])}))


if __name__ == "__main__":
    main()
