"""How well `tuwen score` finds captions that are not their images': a folder of captioned photos, a tenth of its captions exchanged.

SOURCE has `train.csv` and `test.csv` (`text,url,filename`) and `images/`. The captions of a tenth of the training pairs, drawn with a
seed, are exchanged among them. A corpus is made of that, a small decoder is trained on all of it beside a frozen encoder, and the same
pairs are scored. Pairs whose gain (`loss_without_image - loss`) is low should be the exchanged ones: the area under the ROC curve is
the probability that of an exchanged and another pair the exchanged one has the lower gain.

What is done already in OUT is not done again, so a run that was stopped may be started again. OUT/gain.png has both histograms; the
last line is one JSON object.
"""
import argparse
import csv
import io
import json
import pathlib
import random
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZE_PX, BINS = 224, 60
RECIPE = dict(batch_size=16, encoder_image_size=SIZE_PX, freeze_encoder_steps=1_000_000_000, decoder_width=256, decoder_layers=3, decoder_heads=4,
              decoder_dropout=0.1, initializer_range=0.02, lr=1e-3, group_by_length=True, cache_encoder=True, eval_captions=0, eval_examples=256)


def exchanged_rows(path, share, seed):
    """The rows of a CSV with captions of some exchanged, and which rows those are."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    draw = random.Random(seed)
    said = {}
    for row in rows:
        said.setdefault(row["filename"], set()).add(row["text"])
    chosen = draw.sample(range(len(rows)), round(share * len(rows)))
    texts = [rows[i]["text"] for i in chosen]
    while True:
        draw.shuffle(texts)
        wrong = [j for j, i in enumerate(chosen) if texts[j] in said[rows[i]["filename"]]]
        for j in wrong:  # give it away to a random one
            k = draw.randrange(len(texts))
            texts[j], texts[k] = texts[k], texts[j]
        if all(text not in said[rows[i]["filename"]] for i, text in zip(chosen, texts)):
            break
    for i, text in zip(chosen, texts):
        rows[i]["text"] = text
    return rows, set(chosen)


def area_under_roc(low, high):
    """The probability that a value of `low` is less than one of `high`; half for equal ones."""
    ranked = sorted([(value, False) for value in low] + [(value, True) for value in high])
    rank_sum, begin = 0.0, 0
    while begin < len(ranked):
        end = begin
        while end < len(ranked) and ranked[end][0] == ranked[begin][0]:
            end += 1
        rank_sum += (begin + end + 1) / 2 * sum(is_high for _, is_high in ranked[begin:end])
        begin = end
    return (rank_sum - len(high) * (len(high) + 1) / 2) / (len(low) * len(high))


def draw_histograms(path, exchanged, others, title):
    begin, end = statistics.quantiles(exchanged + others, n=200)[::198]
    width = (end - begin) / BINS
    edges = [begin + i * width for i in range(BINS + 1)]

    def density(values):
        counts = [0] * BINS
        for value in values:
            if begin <= value < end:
                counts[min(BINS - 1, int((value - begin) / width))] += 1
        return [n / len(values) / width for n in counts]

    series = [("exchanged", "#d1495b", density(exchanged)), ("others", "#30638e", density(others))]
    try:
        import matplotlib
    except ImportError:
        return draw_with_pillow(path, edges, series, title)
    matplotlib.use("Agg")
    from matplotlib import pyplot

    for name, color, heights in series:
        pyplot.stairs(heights, edges, fill=True, alpha=0.5, color=color, label=name)
    pyplot.xlabel("gain: nats a token by which the image makes the caption likelier")
    pyplot.ylabel("density")
    pyplot.title(title)
    pyplot.legend()
    pyplot.savefig(path, dpi=120)


def draw_with_pillow(path, edges, series, title):
    from PIL import Image, ImageDraw, ImageFont

    wide, high, left, top, bottom = 900, 520, 60, 50, 70
    picture = Image.new("RGB", (wide, high), "white")
    font = ImageFont.load_default(16)
    highest = max(max(heights) for _, _, heights in series)
    bar = (wide - 2 * left) / BINS
    for _, color, heights in series:
        layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
        pen = ImageDraw.Draw(layer)
        for i, height in enumerate(heights):
            y = high - bottom - (high - top - bottom) * height / highest
            pen.rectangle([left + i * bar, y, left + (i + 1) * bar - 1, high - bottom], fill=color + "90")
        picture.paste(layer, mask=layer)
    pen = ImageDraw.Draw(picture)
    pen.line([left, high - bottom, wide - left, high - bottom], fill="black")
    for i in range(0, BINS + 1, BINS // 6):
        pen.text((left + i * bar, high - bottom + 6), f"{round(edges[i], 2) + 0.0:.2f}", fill="black", font=font, anchor="mt")
    pen.text((wide / 2, high - 24), "gain: nats a token by which the image makes the caption likelier", fill="black", font=font, anchor="mm")
    pen.text((wide / 2, 24), title, fill="black", font=font, anchor="mm")
    for i, (name, color, _) in enumerate(series):
        pen.rectangle([wide - 190, 60 + 26 * i, wide - 174, 76 + 26 * i], fill=color)
        pen.text((wide - 166, 68 + 26 * i), name, fill="black", font=font, anchor="lm")
    picture.save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuwen", required=True, help="the binary tuwen, with tuwen-trainer beside it")
    parser.add_argument("--source", type=pathlib.Path, required=True, help="the folder with train.csv, test.csv and images/")
    parser.add_argument("--encoder", type=pathlib.Path, required=True, help="the folder of a ViT")
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, help="a tokenizer.json")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where all is made")
    parser.add_argument("--share", type=float, default=0.1, help="of the training pairs whose captions are exchanged")
    parser.add_argument("--steps", type=int, default=1_800, help="optimizer steps of 16 pairs")
    parser.add_argument("--save-every", type=int, default=200, help="steps between checkpoints, from which a stopped run resumes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows, chosen = exchanged_rows(args.source / "train.csv", args.share, args.seed)
    with open(args.out / "train.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)

    seconds = {}

    def tuwen(step, *arguments, stdout=None):
        begun = time.monotonic()
        command = [args.tuwen, *map(str, arguments)]
        done = subprocess.run(command, stdout=stdout or subprocess.DEVNULL, encoding="utf-8", check=True)
        seconds[step] = round(time.monotonic() - begun, 1)
        return done.stdout

    corpus, model = args.out / "corpus", args.out / "model"
    tuwen("corpus", "run", args.out / "train.csv", args.source / "test.csv", "--image-dir", args.source / "images", "--corpus", corpus,
          "--tokenizer", args.tokenizer, "--set", f"decode.size={SIZE_PX}")
    recipe = dict(RECIPE, steps=args.steps, seed=args.seed, save_every=args.save_every, save_total_limit=0)
    sets = [word for key, value in recipe.items() for word in ("--set", f"train.{key}={json.dumps(value)}")]
    tuwen("train", "train", "--preset", "tiny", "--corpus", corpus, "--encoder", args.encoder, "--tokenizer", args.tokenizer, "--out", model,
          "--resume", "auto", *sets)
    tuwen("score", "score", "--corpus", corpus, "--model", model)
    doubtful = (ROOT / "sql/queries/doubtful_pairs.sql").read_text()
    query = f"select source_line, gain from ({doubtful}) as doubtful join pairs on example_id = pair_id where split = 'train'"
    scored = csv.DictReader(io.StringIO(tuwen("sql", "sql", "--corpus", corpus, "--format", "csv", query, stdout=subprocess.PIPE)))
    lines = line_numbers(args.out / "train.csv")
    gains = {True: [], False: []}
    for row in scored:
        is_exchanged = lines[int(row["source_line"])] in chosen
        gains[is_exchanged].append(float(row["gain"]))
    exchanged, others = gains[True], gains[False]
    area = area_under_roc(exchanged, others)
    lowest = sorted([(gain, True) for gain in exchanged] + [(gain, False) for gain in others])[: len(exchanged)]
    found = sum(is_exchanged for _, is_exchanged in lowest) / len(exchanged)
    draw_histograms(args.out / "gain.png", exchanged, others, f"{len(exchanged)} exchanged of {len(exchanged) + len(others)} pairs: AUC {area:.3f}")
    print(json.dumps({"auc": round(area, 4), "pairs": len(exchanged) + len(others), "exchanged": len(exchanged),
                      "exchanged_among_as_many_lowest": round(found, 3), "median_gain_exchanged": round(statistics.median(exchanged), 4),
                      "median_gain_others": round(statistics.median(others), 4), "steps": args.steps, "seconds": seconds,
                      "png": str(args.out / "gain.png")}))


def line_numbers(path):
    """From the line on which a row of the CSV starts, counted from 1 with the header, to the row's place."""
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        begun, places = reader.line_num + 1, {}
        for place, _ in enumerate(reader):
            places[begun] = place
            begun = reader.line_num + 1
    return places


if __name__ == "__main__":
    main()
