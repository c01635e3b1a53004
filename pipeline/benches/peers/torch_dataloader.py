"""PyTorch's DataLoader over the memory-mapped raw file, shuffled globally, two worker processes (`--workers 0`: none).

Measured: complete batches, default collation into one contiguous u8 [64, 224, 224, 3] in shared memory, ids beside it, no
captions. Torch is the project's own (requirements.txt).
"""
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import peer


class Rows(Dataset):
    def __init__(self, pixels):
        self.pixels = pixels

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, row):
        return row, torch.from_numpy(np.array(self.pixels[row]))


def main():
    args = peer.arguments(__doc__)
    loader = DataLoader(
        Rows(args.pixels), args.batch_size, shuffle=True, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    peer.measure(args, lambda number: loader, torch.__version__)


if __name__ == "__main__":
    main()
