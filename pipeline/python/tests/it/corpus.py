"""A corpus for the tests, made by the module itself. In: a folder. Out: `corpus` in it, of 300 images of 32 px, in several files."""

import csv
import pathlib
import random
import sys

import numpy as np
from PIL import Image

import tuwen

TOKENIZER = pathlib.Path(__file__).parents[4] / "data/sample/tokenizer.json"
COLOURS = "红橙黄绿蓝紫黑白灰粉"
SHAPES = ["方形", "圆形", "三角形", "星形", "长方形"]
PLACES = ["左上", "右上", "左下", "右下", "中间"]


def make(folder, n_images=300, size_px=32):
    """Makes the sources and the corpus; its path."""
    images = folder / "images"
    images.mkdir(parents=True)
    rng, choose = np.random.default_rng(7), random.Random(7)
    rows = []
    for number in range(n_images):
        split = "test" if number % 10 == 9 else "train"
        name = f"{split}-{number}.png"
        cells = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(cells).resize((48, 40), Image.Resampling.NEAREST).save(images / name)
        things = [f"{choose.choice(PLACES)}有一个{choose.choice(COLOURS)}色的{choose.choice(SHAPES)}" for _ in range(choose.randint(1, 4))]
        rows.append(("，".join(things), f"http://127.0.0.1:9/{name}", name))
    corpus = folder / "corpus"
    # In three parts, so that there are several files, and versions.
    for part in range(3):
        source = folder / f"part-{part}.csv"
        with source.open("w", newline="") as file:
            csv.writer(file).writerows([("text", "url", "filename"), *rows[part::3]])
        settings = {"decode.size": size_px}
        tuwen.run(source, corpus=corpus, image_dir=images, tokenizer=TOKENIZER, settings=settings, quiet=True)
    return corpus


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]))
