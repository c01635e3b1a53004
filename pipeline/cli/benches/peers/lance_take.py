"""Lance (pylance 14.0.2): `dataset.take` of 64 shuffled rows a batch, two threads, each with its own batches in turn.

Measured: complete batches as Arrow gives them, without a further copy: pixels one contiguous u8 [64, 224, 224, 3] over the
column's buffer, ids beside it, no captions. The column is large binary, which Lance gathers with little more than half the CPU
time of its type for tensors (fixed-size list of u8). A permutation of all rows an epoch: the shuffle is global. Threads, not
worker processes: Lance releases the GIL and says not to fork; its own pools have two threads too.
"""
import os

# Lance reads these when it is loaded.
os.environ.update(LANCE_CPU_THREADS="2", LANCE_IO_THREADS="2")

import collections
import concurrent.futures
import importlib.metadata

import lance
import numpy as np
import pyarrow as pa

import peer

# Batches asked for and not yet taken, per thread; torch's DataLoader has the same.
AHEAD = 2


def main():
    args = peer.arguments(__doc__)
    shape = args.pixels.shape[1:]
    schema = pa.schema({"id": pa.int64(), "pixels": pa.large_binary()})

    def make(path):
        def rows(step=256):
            for first in range(0, args.n, step):
                pixels = [row.tobytes() for row in args.pixels[first:first + step]]
                ids = np.arange(first, first + len(pixels))
                yield pa.record_batch([pa.array(ids), pa.array(pixels, pa.large_binary())], schema=schema)

        lance.write_dataset(pa.RecordBatchReader.from_batches(schema, rows()), str(path))

    path = peer.made_once(args, "lance", make)
    dataset = lance.dataset(str(path))
    pool = concurrent.futures.ThreadPoolExecutor(args.workers)

    def batch(rows):
        table = dataset.take(rows, columns=["id", "pixels"]).combine_chunks()
        _, _, pixels = table["pixels"].chunk(0).buffers()
        return table["id"].to_numpy(), np.frombuffer(pixels, np.uint8).reshape(-1, *shape)

    def epoch(number):
        order = np.random.default_rng(number).permutation(args.n)
        asked = collections.deque()
        for start in range(0, args.n, args.batch_size):
            asked.append(pool.submit(batch, order[start:start + args.batch_size]))
            if len(asked) > AHEAD * args.workers:
                yield asked.popleft().result()
        while asked:
            yield asked.popleft().result()

    peer.measure(args, epoch, importlib.metadata.version("pylance"))


if __name__ == "__main__":
    main()
