"""PyTorch's DataLoader over the memory-mapped raw file, shuffled globally, two worker processes (`--workers 0`: none).

Measured: complete batches, one gather of numpy for each, one contiguous u8 [64, 224, 224, 3] (of workers in shared memory), ids
beside it, no captions. Without workers a row at a time with the default collation is 3 to 7 times as slow. Torch is
the project's own (requirements.txt).
"""
import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

import peer


class Batches(Dataset):
    """A whole batch by its rows, so that the rows are gathered once."""

    def __init__(self, pixels):
        self.pixels = pixels

    def __getitem__(self, rows):
        return torch.tensor(rows), torch.from_numpy(self.pixels[np.array(rows)])


def loader(args):
    """Batches (ids, pixels), shuffled anew in every epoch."""
    sampler = BatchSampler(RandomSampler(range(args.n)), args.batch_size, drop_last=False)
    return DataLoader(
        Batches(args.pixels), batch_size=None, sampler=sampler, num_workers=args.workers,
        persistent_workers=args.workers > 0,
    )


def main():
    args = peer.arguments(__doc__)
    batches = loader(args)
    peer.measure(args, lambda number: batches, torch.__version__)


if __name__ == "__main__":
    main()
