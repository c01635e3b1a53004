"""Writes the picture files that PIL cannot write. In: numpy arrays. Out: bytes of a PNG, a TIFF or a JPEG. Never reads one."""

import struct
import zlib

import numpy as np

# Adam7: first column, first row, column step, row step of each pass (PNG specification, 8.2).
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(name: bytes, data: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(levels: np.ndarray, color_type: int, depth: int, interlaced: bool = False, extra: bytes = b"") -> bytes:
    """A PNG of `levels` [h, w, channels] with values below 2**depth; `extra` is put before the data."""

    def scanlines(part: np.ndarray) -> bytes:
        if part.size == 0:
            return b""
        if depth == 16:
            rows = part.astype(">u2").reshape(part.shape[0], -1).view(np.uint8)
        elif depth == 8:
            rows = part.astype(np.uint8).reshape(part.shape[0], -1)
        else:
            bits = (part[..., 0, None] >> np.arange(depth - 1, -1, -1)) & 1
            rows = np.packbits(bits.reshape(part.shape[0], -1).astype(np.uint8), axis=1)
        return b"".join(b"\0" + row.tobytes() for row in rows)

    height, width = levels.shape[:2]
    parts = [levels[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [levels]
    data = b"".join(scanlines(part) for part in parts)
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
    return start + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises width x height RGB pixels and has none."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def tiff(levels: np.ndarray, photometric: int, order: str = "<") -> bytes:
    """An uncompressed TIFF of one strip: `levels` [h, w, channels], uint8 or uint16, in byte order `order`."""
    height, width, channels = levels.shape
    depth = levels.dtype.itemsize * 8
    data = levels.astype(levels.dtype.newbyteorder(order)).tobytes()
    bits_at = 8
    data_at = bits_at + 2 * channels
    directory_at = data_at + len(data) + len(data) % 2
    short, long = 3, 4
    bits = (short, channels, bits_at) if channels > 1 else (short, 1, depth)
    entries = [
        (256, short, 1, width), (257, short, 1, height), (258, *bits), (259, short, 1, 1), (262, short, 1, photometric),
        (273, long, 1, data_at), (277, short, 1, channels), (278, short, 1, height), (279, long, 1, len(data)),
        (284, short, 1, 1),
    ]
    out = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, directory_at)
    out += struct.pack(f"{order}{channels}H", *[depth] * channels) + data + b"\0" * (len(data) % 2)
    out += struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        out += struct.pack(order + "HHI", tag, kind, count)
        out += struct.pack(order + "HH", value, 0) if kind == short and count == 1 else struct.pack(order + "I", value)
    return out + struct.pack(order + "I", 0)


def as_ycck(cmyk_jpeg: bytes) -> bytes:
    """The CMYK JPEG with its Adobe marker saying that the four channels are YCCK."""
    at = cmyk_jpeg.index(b"Adobe")
    return cmyk_jpeg[: at + 11] + b"\x02" + cmyk_jpeg[at + 12 :]


def without_adobe(jpeg: bytes) -> bytes:
    """The JPEG without its Adobe segment."""
    at = jpeg.index(b"\xff\xee")
    length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
    return jpeg[:at] + jpeg[at + 2 + length :]
