"""Makes the decode fixtures and their golden values.

Out: `files/`, small picture files over all formats and colour modes, and `expected.json`, for each of them what PIL
makes of it: header, SHA-256 of the 224x224 RGB pixels and 16x16 of those pixels. Run it with Pillow 13.0 and numpy in the
repository's .venv: `.venv/bin/python pipeline/tests/decode/make.py`. Never needed to run the tests.
"""

import hashlib
import io
import json
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

import rawfiles
import truth

HERE = Path(__file__).parent
FILES = HERE / "files"
# Files that PIL cannot write: `imagecodecs.avif_encode(deep(name, 41, 31, channels) >> (16 - bits), level=90, …)` made them.
KEPT = [
    "avif_10bit_420.avif", "avif_10bit_444.avif", "avif_10bit_alpha.avif", "avif_10bit_grey.avif", "avif_12bit_420.avif",
    "avif_12bit_alpha.avif",
]


def scene(name: str, width: int, height: int, channels: int = 3) -> np.ndarray:
    """Photo-like u8 [h, w, channels]: gradients, waves, an edge, a disc, noise. Another one for every name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    y, x = y / max(height, 8), x / max(width, 8)
    out = np.empty((height, width, channels))
    for c in range(channels):
        a, b, phase = rng.uniform(-90, 90, 2).tolist() + [rng.uniform(0, 6)]
        wave = 25 * np.sin(2 * np.pi * (rng.uniform(1, 4) * x + rng.uniform(1, 4) * y) + phase)
        out[..., c] = rng.uniform(90, 165) + a * (x - 0.5) + b * (y - 0.5) + wave
    cx, cy, slope = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(-1, 1)
    out[(x - cx) ** 2 + (y - cy) ** 2 < 0.04] = rng.uniform(0, 255, channels)
    out[y > 0.75 + slope * 0.2 * x] *= 0.6
    out += rng.normal(0, 3, (height, width, 1))
    return np.clip(out, 0, 255).astype(np.uint8)


def picture(name: str, width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A scene as a PIL image of `mode`."""
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}.get(mode, 3)
    levels = scene(name, width, height, channels)
    if mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return Image.fromarray(levels[..., 0] if channels == 1 else levels, mode)
    rgb = Image.fromarray(levels, "RGB")
    return rgb.quantize(64, dither=Image.Dither.NONE) if mode == "P" else rgb.convert(mode)


def deep(name: str, width: int, height: int, channels: int) -> np.ndarray:
    """A scene in 16 bits whose low bytes are not 0."""
    levels = scene(name, width, height, channels).astype(np.uint16)
    return levels * 256 + (levels * 37 + 11) % 256


def saved(image: Image.Image, kind: str, **options) -> bytes:
    """The image as a file of PIL's format `kind`."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def jpegs() -> dict[str, bytes]:
    """JPEG: chroma, progressive, quality, odd sizes, CMYK and YCCK, RGB, EXIF, slips that readers forgive."""
    made = {}

    def add(name, width, height, mode="RGB", **options):
        made[name] = saved(picture(name, width, height, mode), "JPEG", **options)

    for chroma in (0, 1, 2):
        add(f"jpeg_chroma{chroma}.jpg", 97 + chroma, 61, quality=85, subsampling=chroma)
    for quality in (5, 30, 75, 100):
        add(f"jpeg_q{quality}.jpg", 90, 67, quality=quality)
    add("jpeg_large.jpg", 417, 301, quality=60)
    add("jpeg_large_portrait.jpg", 233, 355, quality=80, subsampling=0)
    add("jpeg_progressive.jpg", 111, 83, quality=80, progressive=True)
    add("jpeg_progressive_grey.jpg", 60, 77, "L", progressive=True)
    add("jpeg_optimized.jpg", 84, 84, quality=70, optimize=True)
    add("jpeg_grey.jpg", 73, 51, "L", quality=90)
    add("jpeg_rgb.jpg", 66, 49, quality=90, keep_rgb=True)
    add("jpeg_cmyk.jpg", 71, 58, "CMYK", quality=92)
    add("jpeg_restart.jpg", 96, 64, quality=75, restart_marker_rows=1)
    for width, height in ((1, 1), (3, 500), (500, 3), (17, 16), (224, 224)):
        add(f"jpeg_{width}x{height}.jpg", width, height, quality=88)
    for orientation in (2, 3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        add(f"jpeg_exif{orientation}.jpg", 88, 55, quality=80, exif=exif)
    # YCCK: the luma and chroma of the inks, black inverted, put through PIL as if they were CMYK (which PIL inverts).
    inks = scene("jpeg_ycck.jpg", 75, 62, 4)
    ycc = np.asarray(Image.fromarray(inks[..., :3], "RGB").convert("YCbCr"))
    stored = np.dstack([ycc, 255 - inks[..., 3]])
    made["jpeg_ycck.jpg"] = rawfiles.as_ycck(saved(Image.fromarray(255 - stored, "CMYK"), "JPEG", quality=92))
    made["jpeg_cmyk_no_adobe.jpg"] = rawfiles.without_adobe(made["jpeg_cmyk.jpg"])
    made["jpeg_tail.jpg"] = made["jpeg_q75.jpg"] + b"\0\1\2garbage after the end" * 3
    # What libjpeg warns of and leaves every pixel as it is.
    plain = made["jpeg_q75.jpg"]
    made["jpeg_jfif201.jpg"] = plain.replace(b"JFIF\0\1\1", b"JFIF\0\2\1", 1)
    for marker, code in (("dqt", 0xDB), ("sof", 0xC0), ("dht", 0xC4), ("sos", 0xDA)):
        made[f"jpeg_stray_before_{marker}.jpg"] = stray_before(plain, code)
    made["jpeg_stray_before_end.jpg"] = plain[:-2] + b"\0\0\0" + plain[-2:]
    profile = b"ICC_PROFILE\0"
    for label, numbers in (("seq0", b"\0\1"), ("beyond", b"\3\2"), ("none", b"\1\0")):
        segment = profile + numbers + b"no profile at all"
        app2 = b"\xff\xe2" + (len(segment) + 2).to_bytes(2, "big") + segment
        made[f"jpeg_icc_{label}.jpg"] = plain[:2] + app2 + plain[2:]
    made["jpeg_adobe9.jpg"] = plain[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x09" + plain[2:]
    return made


def stray_before(jpeg: bytes, code: int) -> bytes:
    """The JPEG with bytes that belong to nothing before its first marker of `code`."""
    at = jpeg.index(bytes([0xFF, code]))
    return jpeg[:at] + b"\x12\x34\x56" + jpeg[at:]


def pngs() -> dict[str, bytes]:
    """PNG: every colour type and depth, interlaced, transparency, chunks that readers skip."""
    made = {}
    for mode, width, height in (("1", 57, 41), ("L", 63, 45), ("LA", 58, 43), ("P", 64, 47), ("RGB", 65, 46), ("RGBA", 61, 44)):
        name = f"png_{mode.lower()}.png"
        made[name] = saved(picture(name, width, height, mode), "PNG")
    made["png_p_transparent.png"] = saved(picture("png_p_transparent.png", 60, 44, "P"), "PNG", transparency=3)
    alpha = bytes(range(0, 256, 4))
    made["png_p_alpha.png"] = saved(picture("png_p_alpha.png", 60, 43, "P"), "PNG", transparency=alpha)
    made["png_rgb_transparent.png"] = saved(picture("png_rgb_transparent.png", 50, 39), "PNG", transparency=(90, 90, 90))
    made["png_bright.png"] = saved(picture("png_bright.png", 301, 40), "PNG", gamma=0.45455, icc_profile=b"not a profile")
    # Colours that nobody sees, for they are wholly transparent: PIL keeps them.
    hidden = scene("png_hidden.png", 48, 40, 4)
    hidden[:20, :, 3] = 0
    made["png_hidden.png"] = saved(Image.fromarray(hidden, "RGBA"), "PNG")
    for depth in (1, 2, 4):
        name = f"png_grey{depth}.png"
        made[name] = rawfiles.png(scene(name, 45, 37, 1) >> (8 - depth), 0, depth)
    palette = rawfiles.chunk(b"PLTE", scene("palette", 16, 1).tobytes())
    for depth in (1, 2, 4):
        name = f"png_palette{depth}.png"
        made[name] = rawfiles.png(scene(name, 43, 39, 1) >> (8 - depth), 3, depth, extra=palette[:])
    for label, color_type, channels in (("l", 0, 1), ("rgb", 2, 3), ("la", 4, 2), ("rgba", 6, 4)):
        name = f"png_{label}16.png"
        made[name] = rawfiles.png(deep(name, 41, 33, channels), color_type, 16)
    for label, color_type, depth, levels in (
        ("l", 0, 8, scene("adam7_l", 53, 38, 1)),
        ("rgb", 2, 8, scene("adam7_rgb", 51, 35, 3)),
        ("rgba16", 6, 16, deep("adam7_rgba16", 37, 31, 4)),
        ("tiny", 2, 8, scene("adam7_tiny", 3, 2, 3)),
        ("p4", 3, 4, scene("adam7_p4", 47, 33, 1) >> 4),
    ):
        extra = palette if color_type == 3 else b""
        made[f"png_adam7_{label}.png"] = rawfiles.png(levels, color_type, depth, interlaced=True, extra=extra)
    exif = Image.Exif()
    exif[0x0112] = 6
    made["png_exif6.png"] = saved(picture("png_exif6.png", 57, 36), "PNG", exif=exif)
    return made | broken_pngs()


def broken_pngs() -> dict[str, bytes]:
    """PNG whose pixels are whole, whatever else is not; and animated ones."""
    made = {}
    whole = saved(picture("png_whole", 33, 22), "PNG")
    parts = rawfiles.chunks(whole)
    pixels = next(data for name, data in parts if name == b"IDAT")
    made["png_no_end.png"] = whole[:-12]
    made["png_no_checksum.png"] = whole[:-16]
    made["png_no_adler.png"] = rawfiles.png_of([parts[0], (b"IDAT", pixels[:-4])])
    made["png_idat_checksum.png"] = rawfiles.png_of(parts, damaged=b"IDAT")
    made["png_end_checksum.png"] = rawfiles.png_of(parts, damaged=b"IEND")
    pieces = [(b"IDAT", pixels[at : at + 300]) for at in range(0, len(pixels), 300)]
    made["png_pieces_no_end.png"] = rawfiles.png_of([parts[0], pieces[0], (b"IDAT", b""), *pieces[1:]])
    rows = zlib.compress(zlib.decompress(pixels) + bytes(400))
    made["png_more_rows.png"] = rawfiles.png_of([parts[0], (b"IDAT", rows), parts[-1]])
    made["png_adam7_no_end.png"] = rawfiles.png(scene("adam7_no_end", 21, 17), 2, 8, interlaced=True)[:-16]
    colors = scene("palette", 16, 1).tobytes()
    indexes = scene("png_palette", 23, 19, 1) >> 4
    for name, length in (("short", 30), ("odd", 31), ("none", 0)):
        palette = rawfiles.chunk(b"PLTE", colors[:length]) if length else b""
        made[f"png_palette_{name}.png"] = rawfiles.png(indexes, 3, 4, extra=palette)
    clear = rawfiles.chunk(b"tRNS", bytes(6))
    made["png_rgb16_transparent.png"] = rawfiles.png(deep("png_rgb16_transparent", 19, 17, 3), 2, 16, extra=clear)
    frames = [picture(f"apng{i}", 24, 18) for i in range(3)]
    moving = {"save_all": True, "append_images": frames[1:]}
    made["png_animated.png"] = saved(frames[0], "PNG", **moving)
    made["png_animated_no_end.png"] = made["png_animated.png"][:-12]
    made["png_animated_beside.png"] = saved(frames[0], "PNG", default_image=True, **moving)
    return made


def avifs() -> dict[str, bytes]:
    """AVIF: chroma, ranges, matrices, alpha, rotation, sequences, grids. Those of 10 and 12 bits are kept, for PIL writes none."""
    made = {}

    def add(name, mode="RGB", size=(41, 31), **options):
        made[name] = saved(picture(name, *size, mode), "AVIF", **{"quality": 80} | options)

    for chroma in ("4:2:0", "4:2:2", "4:4:4"):
        add(f"avif_{chroma.replace(':', '')}.avif", subsampling=chroma)
        add(f"avif_{chroma.replace(':', '')}_limited.avif", subsampling=chroma, range="limited")
    add("avif_grey.avif", "L")
    add("avif_alpha.avif", "RGBA")
    add("avif_premultiplied.avif", "RGBA", alpha_premultiplied=True)
    add("avif_tiny.avif", size=(1, 1))
    for name, matrix in (("709", 1), ("smpte240", 7), ("ycgco", 8), ("2020", 9)):
        for kind in ("420", "444_limited"):
            data = made[f"avif_{kind}.avif"]
            at = data.index(b"nclx") + 8
            if (name, kind) != ("ycgco", "444_limited"):
                made[f"avif_{name}_{kind}.avif"] = data[:at] + matrix.to_bytes(2, "big") + data[at + 2 :]
    for orientation in (2, 5, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        add(f"avif_rotated{orientation}.avif", exif=exif)
    frames = [picture(f"avif_sequence{i}", 40, 28) for i in range(3)]
    made["avif_sequence.avif"] = saved(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    tiles = [saved(picture(f"avif_grid{i}", 64, 64), "AVIF", quality=40) for i in range(4)]
    made["avif_grid.avif"] = rawfiles.avif_grid(tiles, 2, 64, 120, 110)
    return made | {name: (FILES / name).read_bytes() for name in KEPT}


def animations() -> dict[str, bytes]:
    """WebP and GIF, still and moving."""
    made = {}

    def webp(name, mode="RGB", size=(93, 66), **options):
        made[name] = saved(picture(name, *size, mode), "WEBP", **options)

    webp("webp_lossy.webp", quality=80)
    webp("webp_lossy_q10.webp", quality=10, size=(301, 122))
    webp("webp_lossy_alpha.webp", "RGBA", quality=85)
    webp("webp_lossless.webp", lossless=True)
    webp("webp_lossless_alpha.webp", "RGBA", lossless=True, exact=True)
    webp("webp_grey.webp", "L", quality=90)
    exif = Image.Exif()
    exif[0x0112] = 8
    webp("webp_exif8.webp", lossless=True, exif=exif.tobytes())
    frames = [picture(f"webp_animated{i}", 72, 54) for i in range(3)]
    made["webp_animated.webp"] = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    frames = [picture(f"webp_animated_alpha{i}", 72, 54, "RGBA") for i in range(2)]
    made["webp_animated_alpha.webp"] = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, exact=True)

    def gif(name, **options):
        made[name] = saved(picture(name, 76, 55, "P"), "GIF", **options)

    gif("gif.gif")
    gif("gif_transparent.gif", transparency=5)
    gif("gif_interlaced.gif", interlace=1)
    made["gif_grey.gif"] = saved(picture("gif_grey.gif", 70, 51, "L"), "GIF")
    frames = [picture(f"gif_animated{i}", 68, 52, "P") for i in range(4)]
    made["gif_animated.gif"] = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=90)
    # The same file on a larger canvas, so that its first frame does not cover it: bytes 6 to 9 are the canvas's size.
    small = made["gif.gif"]
    made["gif_small_frame.gif"] = small[:6] + bytes([90, 0, 70, 0]) + small[10:]
    small = made["gif_transparent.gif"]
    made["gif_small_frame_transparent.gif"] = small[:6] + bytes([90, 0, 70, 0]) + small[10:]
    whole = saved(picture("gif_palettes", 30, 20, "P").quantize(16), "GIF")
    head, colors, rest = whole[:13], whole[13 : 13 + 48], whole[13 + 48 :]
    no_palette = head[:10] + bytes([head[10] & 0x7F]) + head[11:]
    frame = rest.index(b",") + 9
    local = rest[:frame] + bytes([0x80 | 3]) + colors[::-1] + rest[frame + 1 :]
    made["gif_no_palette.gif"] = no_palette + rest
    made["gif_local_palette.gif"] = no_palette + local
    made["gif_both_palettes.gif"] = head + colors + local
    made["gif_cut_in_second_frame.gif"] = made["gif_animated.gif"][: len(small) + 1200]
    return made


def others() -> dict[str, bytes]:
    """BMP, TIFF, ICO, the PNM family, TGA, QOI."""
    made = {}

    def add(name, kind, mode="RGB", size=(43, 33), **options):
        made[name] = saved(picture(name, *size, mode), kind, **options)

    for mode in ("1", "L", "P", "RGB", "RGBA"):
        add(f"bmp_{mode.lower()}.bmp", "BMP", mode)
    for mode in ("1", "L", "RGB", "RGBA", "CMYK"):
        add(f"tiff_{mode.lower()}.tif", "TIFF", mode)
    add("tiff_lzw.tif", "TIFF", size=(97, 61), compression="tiff_lzw")
    add("tiff_deflate.tif", "TIFF", size=(95, 60), compression="tiff_adobe_deflate")
    add("tiff_packbits.tif", "TIFF", "L", compression="packbits")
    add("tiff_zstd.tif", "TIFF", compression="zstd")
    add("tiff_zstd_differences.tif", "TIFF", compression="zstd", tiffinfo={317: 2})
    pages = [picture(f"tiff_pages{i}", 40, 30) for i in range(3)]
    made["tiff_pages.tif"] = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    made["tiff_big_endian.tif"] = rawfiles.tiff(scene("tiff_big_endian", 44, 31), 2, ">")
    made["tiff_white_is_zero.tif"] = rawfiles.tiff(scene("tiff_white_is_zero", 45, 32, 1), 0)
    made["tiff_rgb16.tif"] = rawfiles.tiff(deep("tiff_rgb16", 37, 29, 3), 2)
    made["tiff_rgb16_big_endian.tif"] = rawfiles.tiff(deep("tiff_rgb16_big_endian", 36, 28, 3), 2, ">")
    made["tiff_l16.tif"] = rawfiles.tiff(deep("tiff_l16", 38, 30, 1), 1)
    add("ico.ico", "ICO", "RGBA", (64, 64), sizes=[(16, 16), (32, 32), (48, 48)])
    add("ico_bmp.ico", "ICO", "RGBA", (32, 32), sizes=[(32, 32)], bitmap_format="bmp")
    made |= tiffs() | bitmaps()
    add("ppm.ppm", "PPM")
    add("pgm.pgm", "PPM", "L")
    add("pbm.pbm", "PPM", "1")
    made["pgm16.pgm"] = b"P5 39 31 65535\n" + deep("pgm16", 39, 31, 1).astype(">u2").tobytes()
    add("tga.tga", "TGA")
    add("tga_rle.tga", "TGA", "RGBA", compression="tga_rle")
    add("tga_grey.tga", "TGA", "L")
    add("qoi.qoi", "QOI")
    add("qoi_alpha.qoi", "QOI", "RGBA")
    return made


def tiffs() -> dict[str, bytes]:
    """TIFF: all that a page may be made of."""
    made = {}

    def add(name, mode="RGB", size=(31, 21), **options):
        made[name] = saved(picture(name, *size, mode), "TIFF", **options)

    for orientation in range(2, 9):
        add(f"tiff_orientation{orientation}.tif", size=(19, 12), tiffinfo={274: orientation})
    add("tiff_orientation6_lzw.tif", size=(19, 12), tiffinfo={274: 6}, compression="tiff_lzw")
    add("tiff_p.tif", "P")
    add("tiff_la.tif", "LA")
    for name, compression in (("group3", "group3"), ("group4", "group4"), ("runs", "tiff_ccitt")):
        add(f"tiff_{name}.tif", "1", (203, 67), compression=compression)
    add("tiff_group3_2d.tif", "1", (203, 67), compression="group3", tiffinfo={292: 5})
    add("tiff_jpeg_l.tif", "L", compression="jpeg")
    add("tiff_jpeg_rgb.tif", compression="jpeg")
    made["tiff_jpeg_ycbcr.tif"] = saved(picture("tiff_jpeg_ycbcr", 45, 33).convert("YCbCr"), "TIFF", compression="jpeg")
    made["tiff_ycbcr_lzw.tif"] = saved(picture("tiff_ycbcr", 31, 21).convert("YCbCr"), "TIFF", compression="tiff_lzw")
    add("tiff_predictor.tif", compression="tiff_lzw", tiffinfo={317: 2})
    made["tiff_predictor16.tif"] = saved(
        Image.fromarray(deep("tiff_predictor16", 31, 21, 1)[..., 0]), "TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 2}
    )
    for depth in (1, 2, 4):
        colors = np.random.default_rng(depth).integers(0, 65536, 3 << depth).tolist()
        levels = scene(f"tiff_palette{depth}", 29, 19, 1) >> (8 - depth)
        made[f"tiff_palette{depth}.tif"] = rawfiles.tiff(levels, 3, depth=depth, extra={320: colors})
        if depth > 1:
            made[f"tiff_grey{depth}.tif"] = rawfiles.tiff(levels, 0, depth=depth)
    for name, photometric, channels in (("rgb", 2, 3), ("cmyk", 5, 4)):
        made[f"tiff_{name}_planes.tif"] = rawfiles.tiff(scene(f"tiff_{name}_planes", 25, 17, channels), photometric, is_planar=True)
    for meaning in (0, 1, 2):
        made[f"tiff_extra{meaning}.tif"] = rawfiles.tiff(scene("tiff_extra", 25, 17, 4), 2, extra={338: [meaning]})
    made["tiff_extra1_16.tif"] = rawfiles.tiff(deep("tiff_extra1_16", 19, 13, 4), 2, ">", extra={338: [1]})
    made["tiff_extra20.tif"] = rawfiles.tiff(scene("tiff_extra20", 19, 13, 5), 2, extra={338: [2, 0]})
    signed = scene("tiff_signed", 25, 17, 1).astype(np.int16) * 3 - 200
    made["tiff_signed16.tif"] = rawfiles.tiff(signed, 1, ">", extra={339: [2]})
    made["tiff_float.tif"] = rawfiles.tiff(signed.astype(np.float32) / 2, 1, extra={339: [3]})
    made["tiff_big.tif"] = rawfiles.tiff(scene("tiff_big", 25, 17), 2, is_big=True)
    return made


def bitmaps() -> dict[str, bytes]:
    """BMP and ICO by hand: what PIL does not write."""
    made = {}
    colors = scene("bitmap_colors", 16, 16).reshape(-1, 3)
    levels = scene("bitmap", 23, 17, 1)
    for depth in (4, 8):
        dib = rawfiles.bitmap(levels >> (8 - depth), depth, colors[: 1 << depth], is_os2=True)
        made[f"bmp_os2_{depth}.bmp"] = rawfiles.bmp(dib, 1 << depth)
    made["bmp_top_down.bmp"] = rawfiles.bmp(rawfiles.bitmap(scene("bmp_top_down", 23, 17), 24, is_top_down=True))
    deeper = deep("bitmap16", 23, 17, 1)
    made["bmp_555.bmp"] = rawfiles.bmp(rawfiles.bitmap(deeper, 16))
    made["bmp_565.bmp"] = rawfiles.bmp(rawfiles.bitmap(deeper, 16, masks=(0xF800, 0x7E0, 0x1F), compression=3))
    masks = (0xFF0000, 0xFF00, 0xFF)
    made["bmp_masks.bmp"] = rawfiles.bmp(rawfiles.bitmap(scene("bmp_masks", 23, 17, 4), 32, masks=masks, compression=3))
    steps = scene("bmp_runs", 23, 17, 1) // 32 * 32
    runs = rawfiles.bitmap(steps, 8, colors, compression=1, data=rawfiles.run_lengths(steps[..., 0]))
    made["bmp_runs.bmp"] = rawfiles.bmp(runs, 256)
    made["bmp_no_padding.bmp"] = made["bmp_top_down.bmp"][:-3]
    made["bmp_os2_long.bmp"] = rawfiles.as_os2_long(rawfiles.bmp(rawfiles.bitmap(scene("bmp_os2_long", 23, 17), 24)))
    dib = rawfiles.bitmap(levels >> 4, 4, colors[:16])
    made["bmp_os2_long_4.bmp"] = rawfiles.as_os2_long(rawfiles.bmp(dib, 16))

    def part(side, depth):
        palette = colors[: 1 << depth] if depth <= 8 else None
        part = scene(f"icon{side}_{depth}", side, side, max(depth // 8, 1))
        return side, depth, rawfiles.bitmap(part >> max(8 - depth, 0), depth, palette, is_icon=True)

    for depth in (1, 4, 8, 24, 32):
        made[f"ico_{depth}.ico"] = rawfiles.icon([part(16, depth)])
    made["ico_largest.ico"] = rawfiles.icon([part(16, 32), part(20, 4), part(16, 8)])
    made["ico_equal.ico"] = rawfiles.icon([part(16, 32), part(16, 4), part(16, 8)])
    made["ico_png_rgb.ico"] = rawfiles.icon([(24, 24, saved(picture("ico_png_rgb", 24, 24), "PNG")), part(16, 8)])
    made["cur.cur"] = rawfiles.icon([part(16, 8), part(20, 4)], kind=2)
    return made


def liars(made: dict[str, bytes]) -> dict[str, bytes]:
    """Files whose names say another format."""
    pairs = {"lie_png.jpg": "png_rgb.png", "lie_webp.jpg": "webp_lossless.webp", "lie_jpeg.png": "jpeg_q75.jpg",
             "lie_gif.jpg": "gif.gif", "lie_bmp.gif": "bmp_rgb.bmp", "lie_jpeg": "jpeg_grey.jpg"}
    return {name: made[original] for name, original in pairs.items()}


def rejects(made: dict[str, bytes]) -> dict[str, tuple[bytes, str]]:
    """Files that are no pictures, or not whole ones, and the reason."""
    noise = bytes([0]) + np.random.default_rng(7).bytes(900)
    png = bytearray(made["png_rgb.png"])
    for i in range(len(png) // 3, len(png) // 3 + 40):
        png[i] ^= 0xA5
    cut = {"jpg": "jpeg_q75.jpg", "png": "png_rgb.png", "webp": "webp_lossless.webp", "gif": "gif.gif", "bmp": "bmp_rgb.bmp"}
    files = {f"bad_truncated.{kind}": (made[name][: len(made[name]) * 3 // 5], "truncated") for kind, name in cut.items()}
    files["bad_only_header.jpg"] = (made["jpeg_q75.jpg"][:300], "truncated")
    files["bad_empty.jpg"] = (b"", "empty")
    # A harmless warning comes first, and hides nothing.
    stray = stray_before(made["jpeg_restart.jpg"], 0xDB)
    files["bad_stray_and_cut.jpg"] = (stray[: len(stray) * 2 // 3], "truncated")
    files["bad_stray_and_damaged.jpg"] = (stray.replace(b"\xff\xd1", b"\xff\xd5", 1), "corrupt")
    files["bad_data.jpg"] = (made["jpeg_restart.jpg"].replace(b"\xff\xd2", b"\x33\x44", 1), "corrupt")
    files["bad_no_end.jpg"] = (made["jpeg_q75.jpg"][:-2], "truncated")
    page = "<!DOCTYPE html>\n<html><head><title>404</title></head><body>图片不存在</body></html>\n"
    files["bad_html.jpg"] = (page.encode(), "not_an_image")
    files["bad_noise.jpg"] = (noise, "not_an_image")
    files["bad_corrupt.png"] = (bytes(png), "corrupt")
    files["bad_bomb.png"] = (rawfiles.png_header(30_000, 30_000), "too_many_pixels")
    files["bad_bomb_jpeg.jpg"] = (jpeg_bomb(made["jpeg_q75.jpg"]), "too_many_pixels")
    files["bad_cut_in_checksum.png"] = (made["png_rgb.png"][:-30], "truncated")
    files["bad_cut.avif"] = (made["avif_420.avif"][:-100], "truncated")
    files["bad_cut.tif"] = (rawfiles.tiff(scene("bad_cut", 30, 20), 2)[:-100], "truncated")
    files["bad_cut_in_first_frame.gif"] = (made["gif_animated.gif"][:1200], "truncated")
    files["bad_lab.tif"] = (saved(picture("lab", 20, 15).convert("LAB"), "TIFF"), "unsupported_format")
    files["bad_long.bmp"] = (rawfiles.bmp(rawfiles.bitmap(scene("bad_long", 70_000, 1), 24)[:200]), "unsupported_format")
    files["bad_os2.bmp"] = (made["bmp_os2_long.bmp"][:30] + b"\3" + made["bmp_os2_long.bmp"][31:], "unsupported_format")
    files["bad_cut_os2.bmp"] = (made["bmp_os2_long.bmp"][:-40], "truncated")
    files["bad_float.pfm"] = (b"Pf\n4 4\n-1.0\n" + bytes(64), "unsupported_format")
    for kind in ("JPEG2000", "PCX", "SGI", "ICNS"):
        files[f"bad_{kind.lower()}.jpg"] = (saved(picture(kind, 16, 16), kind)[:600], "unsupported_format")
    heads = {
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "mif1": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
        "psd": b"8BPS\0\1" + bytes(20), "jxl": b"\xff\x0a" + bytes(20), "svg": b"<?xml version='1.0'?><svg/>",
    }
    files |= {f"bad_{kind}.jpg": (head, "unsupported_format") for kind, head in heads.items()}
    return files


def jpeg_bomb(jpeg: bytes) -> bytes:
    """The JPEG with a frame header that promises 60,000 x 60,000 pixels."""
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + (60_000).to_bytes(2, "big") * 2 + jpeg[at + 9 :]


def main() -> None:
    """Writes everything anew."""
    FILES.mkdir(exist_ok=True)
    for old in FILES.iterdir():
        if old.name not in KEPT:
            old.unlink()
    made = jpegs() | pngs() | animations() | avifs() | others()
    made |= liars(made)
    entries = []
    for name, data in made.items():
        (FILES / name).write_bytes(data)
        pixels = truth.pixels(FILES / name)
        spots = np.arange(16) * 223 // 15
        entry = {"file": name} | truth.header(FILES / name)
        entry["tolerance"] = truth.tolerance(name)
        entry["sha256"] = hashlib.sha256(pixels.tobytes()).hexdigest()
        entry["grid"] = pixels[np.ix_(spots, spots)].tobytes().hex()
        entries.append(entry)
    for name, (data, reason) in rejects(made).items():
        (FILES / name).write_bytes(data)
        entries.append({"file": name, "reject_reason": reason})
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    (HERE / "expected.json").write_text(f"[\n{lines}\n]\n")
    size = sum(path.stat().st_size for path in FILES.iterdir())
    print(f"{len(made)} good files, {len(entries) - len(made)} bad ones, {size:,} bytes")


if __name__ == "__main__":
    main()
