"""The seed's loader: `datasets` with `set_transform`, torch's DataLoader, two worker processes, original picture files.

Measured: what its training step took: pixel values float32 [64, 3, 224, 224], normalised, and labels int64 [64, 100] (captions
tokenized and padded), ids beside them. In every epoch each picture is opened with PIL, converted to RGB and passed through
`ViTImageProcessor` (its PIL backend, which is what the seed's version was). The rows are the files in `--pictures`, at their
original sizes; row i shows picture i modulo their number. The shuffle is global. An epoch is long: five slices of one are timed.
Versions: datasets 5.2.0, transformers and Pillow those of the project's environment.
"""
import importlib.metadata
import pathlib

import peer

peer.no_network()
import numpy as np
import torch
from datasets import Dataset
from PIL import Image
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

TOKENIZER = pathlib.Path(__file__).parents[3] / "data/sample/tokenizer.json"
MAX_LENGTH = 100


def loader(args):
    """Batches (ids, normalised pixels, labels), shuffled anew in every epoch."""
    files = peer.pictures(args)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER), pad_token="[PAD]", unk_token="[UNK]")
    processor = ViTImageProcessorPil(size={"height": args.size_px, "width": args.size_px})

    def transform(rows):
        images = [Image.open(path).convert("RGB") for path in rows["path"]]
        labels = tokenizer(rows["text"], max_length=MAX_LENGTH, truncation=True, padding="max_length")["input_ids"]
        return {"id": rows["id"], "pixel_values": processor(images, return_tensors="pt")["pixel_values"], "labels": labels}

    def collated(rows):
        assert len(rows[0]["labels"]) == MAX_LENGTH
        labels = torch.tensor([row["labels"] for row in rows])
        return torch.tensor([row["id"] for row in rows]), torch.stack([row["pixel_values"] for row in rows]), labels

    dataset = Dataset.from_dict({
        "id": range(args.n),
        "path": [str(files[row % len(files)]) for row in range(args.n)],
        "text": [f"一张编号为{row}的照片，画面里有山、水和一座桥" for row in range(args.n)],
    })
    dataset.set_transform(transform)
    return DataLoader(
        dataset, args.batch_size, shuffle=True, num_workers=args.workers, collate_fn=collated,
        persistent_workers=args.workers > 0,
    )


def main():
    args = peer.arguments(__doc__)
    whole = loader(args)
    batches = lambda number: ((ids, pixels) for ids, pixels, _ in whole)
    shape = (3, args.size_px, args.size_px)
    version = f"datasets {importlib.metadata.version('datasets')}, transformers {importlib.metadata.version('transformers')}"
    peer.measure(args, batches, version, sliced=True, exact=False, shape=shape, dtype=np.float32)


if __name__ == "__main__":
    main()
