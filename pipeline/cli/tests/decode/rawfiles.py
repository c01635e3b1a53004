"""Writes the picture files that PIL cannot write. In: numpy arrays. Out: bytes of a PNG, a TIFF, a BMP, an icon, an AVIF of tiles, or a JPEG. Never reads one."""

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


def tiff(
    levels: np.ndarray, photometric: int, order: str = "<", extra: dict | None = None, depth: int = 0,
    is_planar: bool = False, is_big: bool = False,
) -> bytes:
    """An uncompressed TIFF of one strip, or one a channel: `levels` [h, w, channels], in byte order `order`, of `depth` bits
    where that is fewer than 8. `extra`: values of 16 bits of further tags."""
    height, width, channels = levels.shape
    bits = depth or levels.dtype.itemsize * 8
    planes = [levels[..., channel] for channel in range(channels)] if is_planar else [levels]
    if depth:
        pixels = (levels.reshape(height, -1, 1) >> np.arange(depth - 1, -1, -1)) & 1
        strips = [np.packbits(pixels.reshape(height, -1).astype(np.uint8), axis=1).tobytes()]
    else:
        strips = [plane.astype(levels.dtype.newbyteorder(order)).tobytes() for plane in planes]
    short, long = (3, "H"), (4, "I")
    tags = {
        256: (short, [width]), 257: (short, [height]), 258: (short, [bits] * channels), 259: (short, [1]),
        262: (short, [photometric]), 273: (long, [0] * len(strips)), 277: (short, [channels]), 278: (short, [height]),
        279: (long, [len(strip) for strip in strips]), 284: (short, [2 if is_planar else 1]),
    }
    tags |= {tag: (short, list(values)) for tag, values in (extra or {}).items()}
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + ("HHHQ" if is_big else "HI"), *((43, 8, 0, 16) if is_big else (42, 8)))
    count, entry, pointer = ("Q", "HHQ", 8) if is_big else ("H", "HHI", 4)
    aside_at = len(head) + struct.calcsize(order + count) + len(tags) * (4 + 2 * pointer) + pointer
    for is_last in (False, True):
        entries, aside = b"", b""
        for tag, ((kind, letter), values) in sorted(tags.items()):
            data = struct.pack(f"{order}{len(values)}{letter}", *values)
            entries += struct.pack(order + entry, tag, kind, len(values))
            if len(data) <= pointer:
                entries += data.ljust(pointer, b"\0")
            else:
                entries += struct.pack(order + ("Q" if is_big else "I"), aside_at + len(aside))
                aside += data + b"\0" * (len(data) % 2)
        strips_at = np.cumsum([aside_at + len(aside)] + [len(strip) for strip in strips])[:-1]
        tags[273] = (long, [int(at) for at in strips_at])
    return head + struct.pack(order + count, len(tags)) + entries + b"\0" * pointer + aside + b"".join(strips)


def icon(pictures: list[tuple[int, int, bytes]], kind: int = 1) -> bytes:
    """An icon (`kind` 1) or cursor (2) of pictures: side in pixels, bits a pixel, and the picture itself."""
    out, at = struct.pack("<HHH", 0, kind, len(pictures)), 6 + 16 * len(pictures)
    for side, bits, data in pictures:
        out += struct.pack("<BBBBHHII", side % 256, side % 256, 0, 0, 1, bits, len(data), at)
        at += len(data)
    return out + b"".join(data for _, _, data in pictures)


def bitmap(
    levels: np.ndarray, bits: int, palette: np.ndarray | None = None, is_icon: bool = False, masks: tuple = (),
    is_top_down: bool = False, compression: int = 0, data: bytes | None = None, is_os2: bool = False,
) -> bytes:
    """A bitmap without a file's header: `levels` [h, w, channels]. An icon's is followed by a mask that hides nothing."""
    height, width = levels.shape[:2]
    if bits < 8:
        pixels = ((levels[..., :1] >> np.arange(bits - 1, -1, -1)) & 1).reshape(height, -1)
        rows = np.packbits(pixels.astype(np.uint8), axis=1)
    else:
        rows = np.ascontiguousarray(levels).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    data = (rows if is_top_down else rows[::-1]).tobytes() if data is None else data
    colors = b"" if palette is None else b"".join(bytes(color[::-1]) + b"\0" * (not is_os2) for color in palette)
    mask = bytes((width + 31) // 32 * 4 * height) if is_icon else b""
    if is_os2:
        return struct.pack("<IHHHH", 12, width, height, 1, bits) + colors + data
    height = height * 2 if is_icon else -height if is_top_down else height
    count = 0 if palette is None else len(palette)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, count, 0)
    return head + struct.pack(f"<{len(masks)}I", *masks) + colors + data + mask


def bmp(dib: bytes, colors: int = 0) -> bytes:
    """A file of a bitmap whose header, masks and palette of `colors` entries come before its pixels."""
    size = struct.unpack("<I", dib[:4])[0]
    masks = 12 if size == 40 and struct.unpack("<I", dib[16:20])[0] == 3 else 0
    at = 14 + size + masks + colors * (3 if size == 12 else 4)
    return b"BM" + struct.pack("<IHHI", 14 + len(dib), 0, 0, at) + dib


def as_os2_long(file: bytes) -> bytes:
    """A BMP of Windows as OS/2 2.0 writes it: with a header of 64 bytes, which begins as that of 40 does."""
    at = struct.unpack("<I", file[10:14])[0] + 24
    return file[:2] + struct.pack("<IHHII", len(file) + 24, 0, 0, at, 64) + file[18:54] + bytes(24) + file[54:]


def run_lengths(levels: np.ndarray) -> bytes:
    """The rows of an 8-bit bitmap as runs (RLE8)."""
    out = b""
    for row in levels[::-1]:
        ends = [*np.flatnonzero(np.diff(row)) + 1, len(row)]
        starts = [0, *ends[:-1]]
        out += b"".join(bytes([end - start, row[start]]) for start, end in zip(starts, ends)) + b"\0\0"
    return out + b"\0\1"


def chunks(png_file: bytes) -> list[tuple[bytes, bytes]]:
    """Names and data of a PNG's chunks."""
    found, at = [], 8
    while at < len(png_file):
        length = struct.unpack(">I", png_file[at : at + 4])[0]
        found.append((png_file[at + 4 : at + 8], png_file[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of(parts: list[tuple[bytes, bytes]], damaged: bytes = b"") -> bytes:
    """A PNG of chunks, with a wrong checksum in those named `damaged`."""
    made = [(name, chunk(name, data)) for name, data in parts]
    made = [whole[:-1] + bytes([whole[-1] ^ 1]) if name == damaged else whole for name, whole in made]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def box(name: bytes, *parts: bytes) -> bytes:
    """A box of an ISO media file."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + name + body


def boxes(data: bytes) -> dict[bytes, bytes]:
    """Bodies of the boxes that follow each other, by name."""
    found, at = {}, 0
    while at < len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        found[data[at + 4 : at + 8]] = data[at + 8 : at + length]
        at += length
    return found


def avif_grid(tiles: list[bytes], columns: int, side: int, width: int, height: int) -> bytes:
    """An AVIF that is a grid of the AVIFs `tiles`, each of `side` x `side` pixels, and shows width x height of it."""
    first = boxes(boxes(tiles[0])[b"meta"][4:])
    properties = boxes(boxes(first[b"iprp"])[b"ipco"])
    coded = [boxes(tile)[b"mdat"] for tile in tiles]
    ids = range(2, 2 + len(tiles))
    full = b"\0\0\0\0"
    shown = box(b"ispe", full, struct.pack(">II", width, height))
    kept = [shown] + [box(name, properties[name]) for name in (b"ispe", b"pixi", b"av1C", b"colr")]
    uses = [(1, [1, 3, 5])] + [(item, [2, 3, 0x84, 5]) for item in ids]
    linked = b"".join(struct.pack(">HB", item, len(of)) + bytes(of) for item, of in uses)
    names = [(1, b"grid")] + [(item, b"av01") for item in ids]
    infos = [box(b"infe", b"\2\0\0\0", struct.pack(">HH", item, 0), kind, b"\0") for item, kind in names]
    layout = struct.pack(">BBBBHH", 0, 0, len(tiles) // columns - 1, columns - 1, width, height)
    head = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    at = 0
    for is_last in (False, True):
        places = [struct.pack(">HHHHII", 1, 1, 0, 1, 0, len(layout))]
        for item, data in zip(ids, coded):
            places.append(struct.pack(">HHHHII", item, 0, 0, 1, at, len(data)))
            at += len(data)
        meta = box(
            b"meta", full, box(b"hdlr", full, b"\0\0\0\0pict", bytes(13)), box(b"pitm", full, b"\0\1"),
            box(b"iloc", b"\1\0\0\0\x44\0", struct.pack(">H", len(places)), *places),
            box(b"iinf", full, struct.pack(">H", len(infos)), *infos),
            box(b"iref", full, box(b"dimg", struct.pack(f">HH{len(tiles)}H", 1, len(tiles), *ids))),
            box(b"iprp", box(b"ipco", *kept), box(b"ipma", full, struct.pack(">I", len(uses)), linked)),
            box(b"idat", layout),
        )
        at = len(head) + len(meta) + 8
    return head + meta + box(b"mdat", *coded)


def as_ycck(cmyk_jpeg: bytes) -> bytes:
    """The CMYK JPEG with its Adobe marker saying that the four channels are YCCK."""
    at = cmyk_jpeg.index(b"Adobe")
    return cmyk_jpeg[: at + 11] + b"\x02" + cmyk_jpeg[at + 12 :]


def without_adobe(jpeg: bytes) -> bytes:
    """The JPEG without its Adobe segment."""
    at = jpeg.index(b"\xff\xee")
    length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
    return jpeg[:at] + jpeg[at + 2 + length :]
