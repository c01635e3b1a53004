"""FFCV 1.0.2, pixels stored as JPEG of quality 90 (its default): `RGBImageField(write_mode="jpg")`, `OrderOption.RANDOM`.

Measured: complete batches from `Loader`, two threads; pixels one contiguous u8 [64, 224, 224, 3] in a buffer that goes round, ids
beside it, no captions. Every image is decoded by libjpeg-turbo in every epoch. The shuffle is global. The raw file's random
bytes would be unlike any JPEG, and slow to decode, so the rows are pictures, PIL's bilinear 224x224 of the files in `--pictures`;
row i shows picture i modulo their number. What numba compiles at the start falls into the first epoch and is not measured.
"""
import ffcv_loader

if __name__ == "__main__":
    ffcv_loader.main(__doc__, "jpg")
