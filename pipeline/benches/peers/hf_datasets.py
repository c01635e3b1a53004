"""Hugging Face datasets 5.2.0: the pixels in its Arrow file (`Array3D`), torch's DataLoader, two worker processes.

Measured: complete batches, one `dataset[rows]` in numpy's format for each, which gives one contiguous u8 [64, 224, 224, 3]; ids
beside it, no captions. A permutation of all rows an epoch: the shuffle is global.
"""
import importlib.metadata
import tempfile

import peer

peer.no_network()
import numpy as np
import torch
from datasets import Array3D, Dataset, Features, Value
from torch.utils.data import BatchSampler, DataLoader, RandomSampler


class Batches(torch.utils.data.Dataset):
    """A whole batch by its rows, so that the rows are gathered once."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __getitem__(self, rows):
        batch = self.dataset[rows]
        return torch.from_numpy(batch["id"]), torch.from_numpy(batch["pixels"])


def rows(raw, shape):
    for number, pixels in enumerate(np.memmap(raw, np.uint8, "r", shape=shape)):
        yield {"id": number, "pixels": pixels}


def main():
    args = peer.arguments(__doc__)

    def make(path):
        features = Features({"id": Value("int64"), "pixels": Array3D(args.pixels.shape[1:], "uint8")})
        with tempfile.TemporaryDirectory(dir=path.parent) as cache:
            source = {"raw": str(args.raw), "shape": args.pixels.shape}
            Dataset.from_generator(rows, features, cache, gen_kwargs=source).save_to_disk(path)

    path = peer.made_once(args, "datasets", make)
    dataset = Dataset.load_from_disk(path).with_format("numpy")
    sampler = BatchSampler(RandomSampler(range(args.n)), args.batch_size, drop_last=False)
    loader = DataLoader(
        Batches(dataset), batch_size=None, sampler=sampler, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    peer.measure(args, lambda number: loader, importlib.metadata.version("datasets"))


if __name__ == "__main__":
    main()
