"""Pixels as a model wants them. In: u8 pixels of a batch. Out: floats, scaled as transformers' `ViTImageProcessor` does. Never resizes:
a corpus holds squares of one size."""

import json
import os
from pathlib import Path

from tuwen._tuwen import TuwenError

# What ViT's image processor has where its file says nothing.
DEFAULTS = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def normalise(pixels, model=None, dtype=None):
    """Pixels as floats `[b, 3, s, s]`, on the device on which they are: `(x / 255 - mean) / std` for each channel.

    Move the u8 pixels to the device first, which are a quarter of the bytes:
    `tuwen.normalise(batch["pixel_values"].to("cuda", non_blocking=True))`.

    Args:
        pixels: Tensor (or numpy array) u8 `[b, s, s, 3]` or `[b, 3, s, s]`, as a stream gives it.
        model: A folder with `preprocessor_config.json`, or an image processor of transformers, whose mean, standard deviation and
            factor are used [default: those of ViT, 0.5 each].
        dtype: Of the tensor that comes back, such as `torch.bfloat16` [default: float32, in which it is computed].

    Raises:
        TuwenError: The pixels have another shape, or the folder has no such file.
    """
    settings = settings_of(model)
    if pixels.ndim != 4 or 3 not in (pixels.shape[-1], pixels.shape[1]):
        raise TuwenError(f"pixels: expected [b, s, s, 3] or [b, 3, s, s], found {list(pixels.shape)}")
    if pixels.shape[-1] == 3:
        pixels = pixels.transpose(0, 3, 1, 2) if is_numpy(pixels) else pixels.permute(0, 3, 1, 2)  # [b, 3, s, s]
    scale, shift = affine(settings)
    if is_numpy(pixels):
        import numpy

        scale, shift = (numpy.array(values, numpy.float32).reshape(3, 1, 1) for values in (scale, shift))
        floats = pixels.astype(numpy.float32) * scale + shift
        return floats if dtype is None else floats.astype(dtype)
    import torch

    scale, shift = (torch.tensor(values, device=pixels.device).view(3, 1, 1) for values in (scale, shift))
    floats = torch.addcmul(shift, pixels.float(), scale)
    return floats if dtype is None else floats.to(dtype)


def affine(settings):
    """`x * scale + shift` of each channel, as (scales, shifts)."""
    factor = settings["rescale_factor"] if settings["do_rescale"] else 1.0
    mean, std = settings["image_mean"], settings["image_std"]
    if not settings["do_normalize"]:
        mean, std = [0.0] * 3, [1.0] * 3
    return [factor / s for s in std], [-m / s for m, s in zip(mean, std)]


def settings_of(model):
    if model is None:
        return DEFAULTS
    if isinstance(model, (str, os.PathLike)):
        file = Path(model) / "preprocessor_config.json"
        try:
            said = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise TuwenError(f"{file}: {error}") from error
    else:
        said = {name: getattr(model, name, None) for name in DEFAULTS}
    return {name: default if said.get(name) is None else said[name] for name, default in DEFAULTS.items()}


def is_numpy(pixels):
    return type(pixels).__module__ == "numpy"
