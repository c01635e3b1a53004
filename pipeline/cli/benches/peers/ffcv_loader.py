"""FFCV's writer and loader, for `ffcv_raw.py` and `ffcv_jpeg.py`. In: rows of pixels. Out: its file beside the raw file; batches."""
import importlib.metadata

import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.writer import DatasetWriter
from PIL import Image

import peer


class Rows:
    """(pixels, id) by number: of the raw file, or of the pictures at `size_px`."""

    def __init__(self, args, write_mode):
        self.n = args.n
        self.images = args.pixels if write_mode == "raw" else [self.picture(path, args.size_px) for path in peer.pictures(args)]

    @staticmethod
    def picture(path, size_px):
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((size_px, size_px), Image.Resampling.BILINEAR))

    def __len__(self):
        return self.n

    def __getitem__(self, row):
        return np.array(self.images[row % len(self.images)]), row


def loader(args, write_mode):
    """Batches (pixels, ids), shuffled anew in every epoch."""

    def make(path):
        fields = {"pixels": RGBImageField(write_mode=write_mode), "id": IntField()}
        DatasetWriter(str(path), fields, num_workers=args.workers).from_indexed_dataset(Rows(args, write_mode))

    path = peer.made_once(args, f"ffcv-{write_mode}", make)
    return Loader(
        str(path), args.batch_size, num_workers=args.workers, os_cache=True, order=OrderOption.RANDOM, seed=0, drop_last=False,
        pipelines={"pixels": [SimpleRGBImageDecoder()], "id": [IntDecoder()]},
    )


def main(doc, write_mode):
    args = peer.arguments(doc)
    whole = loader(args, write_mode)
    batches = lambda number: ((ids[:, 0], pixels) for pixels, ids in whole)
    peer.measure(args, batches, importlib.metadata.version("ffcv"), exact=write_mode == "raw")


if __name__ == "__main__":
    raise SystemExit("run ffcv_raw.py or ffcv_jpeg.py")
