"""LitData 0.2.76: `StreamingDataset(shuffle=True)` over a local folder, `StreamingDataLoader` with two worker processes.

Measured: complete batches, torch's default collation into one contiguous u8 [64, 224, 224, 3] in shared memory, ids beside it,
no captions. Without collation it would hand over single images, which is not what a training step takes. Chunks of 64 MB, no
compression. It has no global shuffle: chunks are shuffled and dealt to the workers, then the rows within a chunk; each batch
therefore comes from a chunk or two.
"""
import importlib.metadata

import peer

peer.no_network()
import litdata
import torch


def main():
    args = peer.arguments(__doc__)

    def row(number):
        return {"id": number, "pixels": torch.from_numpy(args.pixels[number].copy())}

    def make(path):
        litdata.optimize(
            row, list(range(args.n)), str(path), chunk_bytes=min(64 << 20, args.pixels.nbytes // 4), num_workers=1,
            start_method="fork", verbose=False,
        )

    path = peer.made_once(args, "litdata", make)
    dataset = litdata.StreamingDataset(str(path), shuffle=True, drop_last=False, item_shuffle_window="full", seed=0)
    loader = litdata.StreamingDataLoader(
        dataset, batch_size=args.batch_size, num_workers=args.workers, persistent_workers=args.workers > 0
    )
    batches = lambda number: ((batch["id"], batch["pixels"]) for batch in loader)
    peer.measure(args, batches, importlib.metadata.version("litdata"))


if __name__ == "__main__":
    main()
