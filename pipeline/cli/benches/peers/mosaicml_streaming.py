"""MosaicML Streaming 0.13.0: `StreamingDataset(shuffle=True, shuffle_algo="naive")` over local MDS shards, two worker processes.

Measured: complete batches from `StreamingDataLoader`, torch's default collation into one contiguous u8 [64, 224, 224, 3] in
shared memory, ids beside it, no captions. Shards of 64 MB, no compression. `naive` is its global shuffle (its default, py1e,
mixes blocks of rows); the shards are local, so reading costs the same under both.
"""
import importlib.metadata
import warnings

from streaming import MDSWriter, StreamingDataLoader, StreamingDataset

import peer

# The bytes of a row are only read: torch's collation copies them straight into shared memory.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


def main():
    args = peer.arguments(__doc__)
    columns = {"id": "int", "pixels": "ndarray:uint8:" + ",".join(map(str, args.pixels.shape[1:]))}

    def make(path):
        with MDSWriter(columns=columns, out=str(path)) as shards:
            for number, pixels in enumerate(args.pixels):
                shards.write({"id": number, "pixels": pixels})

    path = peer.made_once(args, "mds", make)
    dataset = StreamingDataset(
        local=str(path), shuffle=True, shuffle_algo="naive", num_canonical_nodes=1, batch_size=args.batch_size,
        batching_method="random", shuffle_seed=0,
    )
    loader = StreamingDataLoader(
        dataset, batch_size=args.batch_size, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    batches = lambda number: ((batch["id"], batch["pixels"]) for batch in loader)
    peer.measure(args, batches, importlib.metadata.version("mosaicml-streaming"))


if __name__ == "__main__":
    main()
