"""The seed's filter of one picture file, as its notebook has it. In: a path. Out: whether the file gives pixels: PIL opens it,
transformers' `ViTImageProcessor` (its PIL backend, which is what the seed's version was) makes float32 [1, 3, 224, 224] of it.
Stores nothing. A module of its own, so that worker processes load it once."""

import numpy as np
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

# The defaults are those of google/vit-base-patch16-224: 224 px, bilinear, mean and deviation 0.5.
PROCESSOR = ViTImageProcessorPil()


def keeps(path: str) -> bool:
    """Whether the seed's filter keeps the file at `path`."""
    try:
        with Image.open(path) as image:
            pixels = PROCESSOR(image.convert("RGB"), return_tensors="np")["pixel_values"]
        return pixels.shape == (1, 3, 224, 224) and pixels.dtype == np.float32
    except Exception:
        return False


def decodes(path: str) -> bool:
    """Whether PIL decodes the file at `path`; nothing else is done with it."""
    with Image.open(path) as image:
        return image.load() is not None
