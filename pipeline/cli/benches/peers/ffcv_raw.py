"""FFCV 1.0.2, pixels stored raw: `RGBImageField(write_mode="raw")`, `OrderOption.RANDOM`, `os_cache=True`.

Measured: complete batches from `Loader`, two threads; pixels one contiguous u8 [64, 224, 224, 3] in a buffer that goes round, ids
beside it, no captions. The file is memory-mapped and each row copied once, by compiled code. The shuffle is global. What
numba compiles at the start falls into the first epoch and is not measured.
"""
import ffcv_loader

if __name__ == "__main__":
    ffcv_loader.main(__doc__, "raw")
