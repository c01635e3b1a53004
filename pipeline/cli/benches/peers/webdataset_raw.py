"""WebDataset 1.0.2, pixels raw in tar files: shuffled shards, a buffer of 1,000 rows, `WebLoader` with two worker processes.

Measured: complete batches, made in the workers (`batched(64)`, torch's collation), one contiguous u8 [64, 224, 224, 3] in shared
memory, ids beside it, no captions. Shards of 512 rows (77 MB), uncompressed; a row's two files are `….pixels` and `….id`. It has
no global shuffle: the shards are shuffled, each worker reads its own from front to back, and a buffer of 1,000 rows mixes
neighbours.
"""
import importlib.metadata
import warnings

import torch
import webdataset
from torch.utils.data import default_collate

import peer

SHARD_ROWS = 512
BUFFER_ROWS = 1000

# The bytes of a row are only read: torch's collation copies them straight into shared memory.
warnings.filterwarnings("ignore", message="The given buffer is not writable")


def main():
    args = peer.arguments(__doc__)
    shape = args.pixels.shape[1:]

    def make(path):
        path.mkdir()
        # A small run has four shards, so that each worker has some.
        rows = min(SHARD_ROWS, -(-args.n // 4))
        with webdataset.ShardWriter(f"{path}/%05d.tar", maxcount=rows, maxsize=1 << 40, verbose=0) as shards:
            for number, pixels in enumerate(args.pixels):
                shards.write({"__key__": f"{number:08}", "pixels": pixels.tobytes(), "id": number.to_bytes(8, "little")})

    def decoded(row):
        return int.from_bytes(row["id"], "little"), torch.frombuffer(row["pixels"], dtype=torch.uint8).reshape(shape)

    path = peer.made_once(args, "webdataset", make)
    shards = sorted(map(str, path.glob("*.tar")))
    dataset = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(BUFFER_ROWS)
    dataset = dataset.map(decoded).batched(args.batch_size, collation_fn=default_collate, partial=True)
    loader = webdataset.WebLoader(
        dataset, batch_size=None, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    peer.measure(args, lambda number: loader, importlib.metadata.version("webdataset"))


if __name__ == "__main__":
    main()
