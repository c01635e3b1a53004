"""Hugging Face datasets 5.2.0: the pixels in its Arrow file, `with_format("numpy")`, torch's DataLoader, two worker processes (`--workers 0`: none).

Measured: complete batches, one `dataset[rows]` for each, one contiguous u8 [64, 224, 224, 3] in shared memory, ids beside it, no
captions. What makes it fast is chosen: lists of fixed length (four times as fast as its `Array3D`) and `dtype=np.uint8` (without
which numpy's format makes int64 of bytes). A permutation of all rows an epoch: the shuffle is global.
"""
import importlib.metadata

import peer

peer.no_network()
import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter
from torch.utils.data import BatchSampler, DataLoader, RandomSampler


class Batches(torch.utils.data.Dataset):
    """A whole batch by its rows, so that the rows are gathered once."""

    def __init__(self, dataset, shape):
        self.dataset, self.shape = dataset, shape

    def __getitem__(self, rows):
        pixels = self.dataset[rows]["pixels"].reshape(-1, *self.shape)
        return torch.tensor(rows), torch.from_numpy(pixels)


# Rows of the file that are written, and found, together.
ROWS = 1000


def write(args, features, path):
    """Its Arrow file. Whole arrays are handed over: rows would be encoded byte by byte, which takes 20 minutes."""
    n_bytes = int(np.prod(args.pixels.shape[1:]))
    with ArrowWriter(features=features, path=str(path)) as writer:
        for first in range(0, args.n, ROWS):
            values = pa.array(args.pixels[first : first + ROWS].reshape(-1))
            writer.write_table(pa.table({"pixels": pa.FixedSizeListArray.from_arrays(values, n_bytes)}))
        writer.finalize()


def main():
    args = peer.arguments(__doc__)
    shape = args.pixels.shape[1:]
    features = Features({"pixels": List(Value("uint8"), length=int(np.prod(shape)))})
    path = peer.made_once(args, "arrow", lambda path: write(args, features, path))
    dataset = Dataset.from_file(str(path)).with_format("numpy", dtype=np.uint8)
    sampler = BatchSampler(RandomSampler(range(args.n)), args.batch_size, drop_last=False)
    loader = DataLoader(
        Batches(dataset, shape), batch_size=None, sampler=sampler, num_workers=args.workers,
        persistent_workers=args.workers > 0,
    )
    peer.measure(args, lambda number: loader, importlib.metadata.version("datasets"))


if __name__ == "__main__":
    main()
