"""Whether near-identical images are found, and no others: a labelled set, end to end. In: nothing. Out: a table on stderr, and as the
last line of stdout one JSON object: `precision`, `recall`, `recall_of` (by kind of copy), `wrong_of` (by kind of other picture, how
many of how many were taken for copies), `pairs` (of a test and a train picture that were compared).

The set: scenes of `tuwen-sample` are the test split. Copies of them are in `train`: written anew as JPEG or WebP, with few colours,
resized, stretched, cropped, lighter or darker, marked. So are others: more scenes, and pictures drawn here whose twin in `test` has
the same ground, but other colours, another shape, place or size, one thing more, or other words. `tuwen run` ingests, decodes and
curates; a train row whose reason is `leak` counts as found. Copies of the drawn pictures are counted apart (`recall_drawn_of`):
a mark on an empty ground is as much as the small thing on it, so that they are harder.

`--photos DIR` does the same with a folder of photos in the place of scenes. The same seed makes the same set.
"""
import argparse
import collections
import csv
import io
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile

from PIL import Image, ImageDraw, ImageEnhance, ImageFont

COLOURS = [(222, 32, 38), (246, 214, 24), (22, 158, 52), (28, 72, 226), (156, 36, 190), (16, 16, 16), (248, 248, 248), (240, 140, 40)]
SHAPES = ["disc", "square", "triangle", "star", "ring"]
GROUNDS = ["white", "white", "black", "grey", "fading"]
WORDS = "sale new shoes red dress chair kitchen design window garden watch phone leather summer winter lamp wood table tea".split()

# Parts of a side from which pictures are cropped.
LIGHT_CROP = 0.05


def say(line):
    """A line for people."""
    print(line, file=sys.stderr, flush=True)


def jpeg(image, quality):
    """The picture as JPEG has it."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


def webp(image):
    data = io.BytesIO()
    image.save(data, "WEBP", quality=70)
    return Image.open(data).convert("RGB")


def crop(image, left, top, right, bottom):
    width, height = image.size
    return image.crop((round(width * left), round(height * top), round(width * (1 - right)), round(height * (1 - bottom))))


def text_over(image, text, alpha, size, place, rng):
    """A half transparent text, `size` of the shorter side high; `place` is called with its room and says where it is."""
    over = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(over)
    px = max(8, int(min(image.size) * size))
    font = ImageFont.load_default(px)
    grey = rng.choice([255, 0, 128])
    width = draw.textlength(text, font=font)
    for at in place(image.size[0] - width, image.size[1] - px * 1.4, px):
        draw.text(at, text, fill=(grey, grey, grey, int(255 * alpha)), font=font)
    return Image.alpha_composite(image.convert("RGBA"), over).convert("RGB")


def copies(image, rng):
    """Kind and picture of each copy."""
    u = rng.uniform
    width, height = image.size
    yield "jpeg at 30", jpeg(image, 30)
    yield "jpeg at 50 to 95", jpeg(image, rng.randint(50, 95))
    yield "webp", webp(image)
    yield "256 colours", image.quantize(256).convert("RGB")
    side = rng.choice([100, 128, 160, 200, 300, 400])
    yield "resized", jpeg(image.resize((side, max(1, round(side * height / width))), rng.choice([Image.BILINEAR, Image.LANCZOS])), 85)
    yield "stretched", jpeg(image.resize((rng.randint(120, 400), rng.randint(120, 400)), Image.BICUBIC), 85)
    yield "cropped by 2 %", jpeg(crop(image, 0.02, 0.02, 0.02, 0.02), 85)
    yield "cropped by 5 %", jpeg(crop(image, *[LIGHT_CROP] * 4), 85)
    yield "cropped by up to 5 %", jpeg(crop(image, *(u(0, LIGHT_CROP) for _ in range(4))), 85)
    side = [0.0] * 4
    side[rng.randrange(4)] = u(0.03, LIGHT_CROP)
    yield "cropped on one side", jpeg(crop(image, *side), 85)
    middle = lambda w, h, px: [(w / 2, h * u(0.3, 0.6))]
    yield "text across", jpeg(text_over(image, "www.example.com", u(0.2, 0.4), u(0.05, 0.09), middle, rng), 85)
    corner = lambda w, h, px: [(w - 4, h)]
    yield "text in a corner", jpeg(text_over(image, "(c) example", u(0.4, 0.9), u(0.035, 0.05), corner, rng), 85)
    tiles = lambda w, h, px: [(x, y) for y in range(0, height, px * 4) for x in range(y // 4 % 50 - 50, width, px * 9)]
    yield "text all over", jpeg(text_over(image, "SAMPLE", u(0.12, 0.25), 0.06, tiles, rng), 85)
    yield "brightness", jpeg(ImageEnhance.Brightness(image).enhance(rng.choice([u(0.93, 0.97), u(1.03, 1.07)])), 85)
    yield "contrast", jpeg(ImageEnhance.Contrast(image).enhance(rng.choice([u(0.9, 0.96), u(1.04, 1.1)])), 85)
    gamma = rng.choice([0.93, 1.07])
    yield "gamma", jpeg(image.point([round(255 * (i / 255) ** gamma) for i in range(256)] * 3), 85)
    marked = text_over(crop(image, *(u(0, 0.03) for _ in range(4))), "example.com", 0.3, 0.07, middle, rng)
    yield "cropped, marked and small", jpeg(marked.resize((200, max(1, round(200 * height / width)))), 60)


def ground(kind, width, height):
    if kind == "fading":
        return Image.linear_gradient("L").resize((width, height)).point(lambda value: 120 + value // 3).convert("RGB")
    return Image.new("RGB", (width, height), kind)


def drawn(kind, width, height, *things):
    """Things (shape, colour, x, y, half extent; the last three in parts of the sides) on a ground, drawn large and made small."""
    image = ground(kind, width * 2, height * 2)
    draw = ImageDraw.Draw(image)
    for shape, colour, x, y, extent in things:
        x, y, r = x * width * 2, y * height * 2, extent * min(width, height) * 2
        if shape == "disc":
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
        elif shape == "ring":
            draw.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=max(2, int(r * 0.4)))
        elif shape == "square":
            draw.rectangle((x - r, y - r, x + r, y + r), fill=colour)
        elif shape == "triangle":
            draw.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], fill=colour)
        else:
            tips = [(r * (0.42 if i % 2 else 1), i * math.pi / 5) for i in range(10)]
            draw.polygon([(x + length * math.sin(turn), y - length * math.cos(turn)) for length, turn in tips], fill=colour)
    return image.resize((width, height), Image.BOX)


def twins(rng):
    """A drawn picture, and others on the same ground by what is other."""
    kind = rng.choice(GROUNDS)
    width, height = rng.choice([(600, 600), (400, 300), (300, 450)])
    level = {"white": 255, "black": 0, "grey": 128, "fading": 160}[kind]
    colours = [colour for colour in COLOURS if sum(abs(value - level) for value in colour) > 150]
    colour, shape = rng.choice(colours), rng.choice(SHAPES)
    x, y, extent = rng.uniform(0.22, 0.78), rng.uniform(0.22, 0.78), rng.uniform(0.06, 0.2)
    thing = (shape, colour, x, y, extent)
    far = lambda other: sum(abs(a - b) for a, b in zip(other, colour)) > 150
    there = [(u, v) for u in (0.25, 0.5, 0.75) for v in (0.25, 0.5, 0.75) if max(abs(u - x), abs(v - y)) > 0.15]
    place = rng.choice(there)
    more = (rng.choice(SHAPES), rng.choice(colours), *rng.choice([p for p in there if math.dist(p, (x, y)) > 0.3]), extent * 0.8)
    others = {
        "colour": [(shape, rng.choice([c for c in colours if far(c)]), x, y, extent)],
        "shape": [(rng.choice([s for s in SHAPES if s != shape]), colour, x, y, extent)],
        "place": [(shape, colour, *place, extent)],
        "size": [(shape, colour, x, y, extent * rng.choice([0.6, 0.7, 1.4, 1.6]))],
        "one thing more": [thing, more],
        "nothing": [],
    }
    return drawn(kind, width, height, thing), {what: drawn(kind, width, height, *things) for what, things in others.items()}


def words(rng):
    """Two pictures of words in the same places."""
    back, fore = rng.choice([("white", "black"), ("white", (200, 20, 30)), ((20, 20, 20), "white"), ((240, 220, 190), (60, 40, 20))])
    px, n_lines = rng.choice([28, 40, 60, 90]), rng.randint(1, 3)
    pictures = []
    for _ in range(2):
        image = Image.new("RGB", (600, rng.choice([400, 400])), back)
        draw = ImageDraw.Draw(image)
        for line in range(n_lines):
            text = " ".join(rng.sample(WORDS, 2))
            draw.text((60, 80 + line * px * 1.4), text, fill=fore, font=ImageFont.load_default(px))
        pictures.append(image)
    return pictures


class Set:
    """The files and rows of the labelled set."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "images").mkdir()
        self.rows = {"test": [], "train": []}
        self.labels = {}

    def add(self, image, split, label=None):
        name = f"{split}-{len(self.rows[split])}.jpg"
        path = self.folder / "images" / name
        image.save(path, "PNG")
        self.rows[split].append({"text": f"第{len(self.rows[split])}张图片", "url": "", "filename": name})
        self.labels[name] = label

    def csvs(self):
        paths = []
        for split, rows in self.rows.items():
            path = self.folder / f"{split}.csv"
            with path.open("w", newline="") as out:
                writer = csv.DictWriter(out, ["text", "url", "filename"])
                writer.writeheader()
                writer.writerows(rows)
            paths.append(path)
        return paths


def pictures(folder):
    """The pictures of a folder that PIL reads."""
    for path in sorted(folder.iterdir(), key=lambda path: (len(path.name), path.name)):
        try:
            yield Image.open(path).convert("RGB")
        except (OSError, Image.DecompressionBombError):
            continue


def make(args, folder, tokenizer_of):
    """Writes the set."""
    rng = random.Random(args.seed)
    labelled = Set(folder)
    for number, image in enumerate(pictures(args.photos or tokenizer_of / "images")):
        if number < args.originals:
            labelled.add(image, "test")
            for kind, copy in copies(image, rng):
                labelled.add(copy, "train", ("copy", kind))
        elif number < args.originals * 4:
            labelled.add(image, "train", ("other", "scene"))
    for _ in range(args.originals // 2):
        image, others = twins(rng)
        labelled.add(image, "test")
        for what, other in others.items():
            labelled.add(jpeg(other, rng.randint(60, 95)), "train", ("other", what))
        for kind, copy in copies(image, rng):
            labelled.add(copy, "train", ("drawn copy", kind))
        one, other = words(rng)
        labelled.add(one, "test")
        labelled.add(jpeg(other, 85), "train", ("other", "words"))
    return labelled


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuwen", type=pathlib.Path, required=True, help="the command; tuwen-sample lies beside it")
    parser.add_argument("--originals", type=int, default=250, help="test pictures; half as many are drawn")
    parser.add_argument("--photos", type=pathlib.Path, help="a folder of photos in the place of scenes")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        scenes, folder, corpus = work / "scenes", work / "set", work / "corpus"
        folder.mkdir()
        sample = args.tuwen.with_name("tuwen-sample")
        run([sample, "make", "--clean", "--seed", args.seed, "--scenes", args.originals * 4, "--out", scenes])
        labelled = make(args, folder, scenes)
        say(f"{len(labelled.rows['test'])} test and {len(labelled.rows['train'])} train pictures")
        run([args.tuwen, "run", *labelled.csvs(), "--image-dir", folder / "images", "--tokenizer", scenes / "tokenizer.json",
             "--corpus", corpus, "--set", "max_rejected_percent=100"])
        query = ("select pairs.filename, examples.reject_reason = 'leak' as is_leak from pairs "
                 "inner join examples on pairs.pair_id = examples.example_id where pairs.filename like 'train-%'")
        found = {row["filename"]: row["is_leak"] == "true"
                 for row in csv.DictReader(io.StringIO(run([args.tuwen, "sql", query, "--corpus", corpus, "--format", "csv"])))}
    print(json.dumps(judged(labelled, found)))


def judged(labelled, found):
    """What was found of what there is."""
    counts = collections.defaultdict(lambda: [0, 0])
    for name, label in labelled.labels.items():
        if label is not None:
            counts[label][0] += found[name]
            counts[label][1] += 1
    for (group, kind), (n_found, n_all) in counts.items():
        say(f"{group:10} {kind:26} {n_found:5} of {n_all:5} found")
    total = lambda group: [sum(values) for values in zip(*(n for (g, _), n in counts.items() if g == group))]
    right, copies_there = total("copy")
    wrong, others_there = total("other")
    of = lambda group: {kind: round(n_found / n_all, 4) for (g, kind), (n_found, n_all) in counts.items() if g == group}
    return {
        "precision": round(right / max(1, right + wrong), 4),
        "recall": round(right / copies_there, 4),
        "copies": copies_there,
        "others": others_there,
        "pairs": len(labelled.rows["test"]) * len(labelled.rows["train"]),
        "recall_of": of("copy"),
        "recall_drawn_of": of("drawn copy"),
        "wrong_of": {kind: f"{n_found} of {n_all}" for (g, kind), (n_found, n_all) in counts.items() if g == "other"},
    }


if __name__ == "__main__":
    main()
