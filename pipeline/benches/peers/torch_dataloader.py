"""PyTorch's DataLoader over the same memory-mapped raw file, shuffled, default collation; pixels only."""
import argparse
import time

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


class Pixels(Dataset):
    def __init__(self, raw, size_px):
        self.pixels = np.memmap(raw, np.uint8, "r").reshape(-1, size_px, size_px, 3)

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, row):
        return torch.from_numpy(np.array(self.pixels[row]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw")
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    dataset = Pixels(args.raw, args.size_px)
    loader = DataLoader(
        dataset, args.batch_size, shuffle=True, num_workers=args.workers, persistent_workers=args.workers > 0
    )

    def epoch():
        begun = time.perf_counter()
        n = sum(len(batch) for batch in loader)
        return n / (time.perf_counter() - begun)

    epoch()
    print(sum(epoch() for _ in range(args.epochs)) / args.epochs)


if __name__ == "__main__":
    main()
