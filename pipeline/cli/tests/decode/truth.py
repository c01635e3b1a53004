"""What PIL makes of a picture file. In: a path. Out: the 224x224 RGB pixels and the header that tuwen must come to as well.
Where PIL is plainly wrong (grey of 16 bits, which `convert("RGB")` clips to white) the top byte is taken instead, which is
PIL's own rule for RGB of 16 bits."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (224, 224)
# PIL's modes for grey of 16 bits.
DEEP_GREY = ("I;16", "I;16B", "I;16L", "I")


def pixels(path: Path) -> np.ndarray:
    """The pixels to store, u8 [224, 224, 3]."""
    with Image.open(path) as image:
        if image.mode in DEEP_GREY and not is_signed(image):
            image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8), "L")
        return np.asarray(image.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR))


def is_signed(image: Image.Image) -> bool:
    """Whether numbers below 0 are meant, of which PIL's clipping is as good as any other."""
    return image.format == "TIFF" and image.mode == "I"


def header(path: Path) -> dict:
    """Format, colour type, size, frames and orientation."""
    with Image.open(path) as image:
        kind = color(path.read_bytes(), image)
        frames = getattr(image, "n_frames", 1)
        image.seek(0)
        # A TIFF is turned when it is loaded, and then has no orientation any more.
        image.load()
        found = {
            "format": "pnm" if image.format == "PPM" else image.format.lower(),
            "color": kind,
            "width": image.width,
            "height": image.height,
            "frames": frames,
            "orientation": image.getexif().get(0x0112, 1),
        }
        if image.mode in DEEP_GREY and not is_signed(image):
            found["pil"] = "clips"
        return found


def color(data: bytes, image: Image.Image) -> str:
    """The colour type of the file, which is PIL's mode but for depths that PIL does not tell."""
    if image.format == "PNG":
        names = {0: "l", 2: "rgb", 3: "p", 4: "la", 6: "rgba"}
        return names[data[25]] + ("16" if data[24] == 16 else "")
    if image.format == "BMP" and data[24 if data[14] == 12 else 28] <= 8:
        return "p"
    if image.format == "GIF":
        return "p"
    if image.format == "TIFF" and max(image.tag_v2.get(258, (8,))) == 16 and image.mode in ("RGB", "RGBA"):
        return image.mode.lower() + "16"
    if image.mode in DEEP_GREY:
        return "l16"
    return {"1": "l", "YCbCr": "rgb", "F": "float", "PA": "p"}.get(image.mode, image.mode.lower())


def tolerance(name: str) -> int:
    """Levels of 255 by which a pixel of the fixture `name` may differ: 1 where PIL and we make 8 bits of 5 or 6, or RGB of YCgCo, by other
    roundings."""
    return 1 if name.startswith(("bmp_555", "bmp_565", "avif_ycgco")) else 0
