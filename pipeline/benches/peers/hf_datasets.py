"""Hugging Face datasets: the same pixels in its Arrow file, shuffled by index, batches as numpy; pixels only.

Needs `pip install datasets`; the Arrow file is made once beside the raw file.
"""
import argparse
import os
import time

import numpy as np
from datasets import Array3D, Dataset, Features


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw")
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    shape = (args.size_px, args.size_px, 3)
    folder = args.raw + ".datasets"
    if not os.path.isdir(folder):
        pixels = np.memmap(args.raw, np.uint8, "r").reshape(-1, *shape)
        features = Features({"pixels": Array3D(shape, "uint8")})
        rows = ({"pixels": row} for row in pixels)
        Dataset.from_generator(lambda: rows, features=features).save_to_disk(folder)
    dataset = Dataset.load_from_disk(folder).with_format("numpy")
    rng = np.random.default_rng(0)

    def epoch():
        order = rng.permutation(len(dataset))
        begun = time.perf_counter()
        for start in range(0, len(order), args.batch_size):
            dataset[order[start:start + args.batch_size]]["pixels"]
        return len(order) / (time.perf_counter() - begun)

    epoch()
    print(sum(epoch() for _ in range(args.epochs)) / args.epochs)


if __name__ == "__main__":
    main()
