//! The strips and tiles of a page. In: its tags. Out: its samples, as they lie in the file after decompression. Sources: TIFF 6.0,
//! Adobe's TIFF Technical Notes 1 and 2 (deflate, JPEG), and libtiff for what they leave open.

use std::io::Read;

use flate2::read::ZlibDecoder;
use turbojpeg::{Decompressor, Image, PixelFormat};
use weezl::decode::Decoder as LzwDecoder;
use weezl::{BitOrder, LzwStatus};

use super::super::reject;
use super::ccitt::{self, Scheme};
use super::page::Page;
use crate::image::Rejected;

/// Scans of a progressive JPEG beyond which it is an attack and not a picture.
const MAX_SCANS: u32 = 500;

/// The samples of each plane: lines of whole bytes, each sample of all channels of a pixel, then the next pixel.
pub(super) fn planes(file: &[u8], page: &Page<'_>) -> Result<Vec<Vec<u8>>, Rejected> {
    let (across, down) = page.chunks();
    let n_planes = if page.is_planar { page.samples } else { 1 };
    let line_bytes = page.line_bytes(page.width);
    let chunk_line_bytes = page.line_bytes(page.chunk_width);
    if across > 1 && chunk_line_bytes * 8 != page.chunk_width * page.pixel_bits() {
        return Err(reject::unsupported("TIFF with tiles that end within a byte"));
    }
    let mut planes = Vec::new();
    for plane in 0..n_planes {
        let mut samples = vec![0; line_bytes * page.height];
        for index in 0..across * down {
            let (left, top) =
                (index % across * chunk_line_bytes, index / across * page.chunk_height);
            let rows = if page.is_tiled {
                page.chunk_height
            } else {
                page.chunk_height.min(page.height - top)
            };
            let chunk = chunk(file, page, plane * across * down + index, rows)?;
            let length = chunk_line_bytes.min(line_bytes - left);
            let lines = samples[top * line_bytes..].chunks_exact_mut(line_bytes);
            for (line, found) in lines.zip(chunk.chunks_exact(chunk_line_bytes)) {
                line[left..left + length].copy_from_slice(&found[..length]);
            }
        }
        planes.push(samples);
    }
    Ok(planes)
}

/// One strip or tile of `rows` lines, decompressed, and the differences summed up.
fn chunk(file: &[u8], page: &Page<'_>, index: usize, rows: usize) -> Result<Vec<u8>, Rejected> {
    let short = || reject::truncated("the TIFF ends before its picture does");
    let offset = *page.offsets.get(index).ok_or_else(short)? as usize;
    let rest = file.get(offset..).ok_or_else(short)?;
    let length = page.lengths.get(index).map_or(rest.len(), |length| *length as usize);
    // What is compressed may end early without harm, at least by a byte of padding.
    let data = &rest[..length.min(rest.len())];
    let reversed: Vec<u8>;
    let data = if page.is_reversed && page.compression != 7 {
        reversed = data.iter().map(|byte| byte.reverse_bits()).collect();
        &reversed
    } else {
        data
    };
    let length = page.chunk_bytes(rows);
    let mut out = match page.compression {
        1 => data.get(..length).ok_or_else(short)?.to_vec(),
        2 => ccitt::decode(data, page.chunk_width, rows, Scheme::Bytes)?,
        3 => {
            let is_tagged = page.fax_options & 1 != 0;
            ccitt::decode(data, page.chunk_width, rows, Scheme::Group3 { is_tagged })?
        }
        4 => ccitt::decode(data, page.chunk_width, rows, Scheme::Group4)?,
        5 => lzw(data, length)?,
        7 => jpeg(page, data, rows)?,
        8 | 32946 => deflate(data, length)?,
        50000 => zstandard(data, length)?,
        32773 => packbits(data, length)?,
        other => return Err(reject::unsupported(format!("TIFF with {}", named(other)))),
    };
    let has_differences = matches!(page.compression, 5 | 8 | 32946 | 50000);
    match page.predictor {
        2 if has_differences => add_up(page, &mut out),
        3 if has_differences => join_floats(page, &mut out),
        _ => {}
    }
    Ok(page.without_subsampling(out, rows))
}

fn lzw(data: &[u8], length: usize) -> Result<Vec<u8>, Rejected> {
    let mut decoder = LzwDecoder::with_tiff_size_switch(BitOrder::Msb, 8);
    let mut out = vec![0; length];
    let (mut read, mut written) = (0, 0);
    while written < length {
        let step = decoder.decode_bytes(&data[read..], &mut out[written..]);
        read += step.consumed_in;
        written += step.consumed_out;
        match step.status {
            Ok(LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) if written < length => return Err(reject::truncated("the LZW data end early")),
            Ok(_) => break,
            Err(error) => return Err(reject::corrupt(error)),
        }
    }
    Ok(out)
}

fn deflate(data: &[u8], length: usize) -> Result<Vec<u8>, Rejected> {
    let mut out = vec![0; length];
    let mut decoder = ZlibDecoder::new(data);
    decoder.read_exact(&mut out).map_err(|error| reject::of_io(&error, &error))?;
    Ok(out)
}

fn zstandard(data: &[u8], length: usize) -> Result<Vec<u8>, Rejected> {
    let mut out = vec![0; length];
    let decoder = zstd::stream::read::Decoder::new(data);
    let read = decoder.and_then(|mut decoder| decoder.read_exact(&mut out));
    read.map_err(|error| reject::of_io(&error, &error))?;
    Ok(out)
}

/// What a compression that is not undone is called.
fn named(compression: u64) -> String {
    let name = match compression {
        6 => "JPEG as it was before 1995",
        34712 => "JPEG 2000",
        34925 => "LZMA",
        50001 => "WebP",
        50002 | 52546 => "JPEG XL",
        other => return format!("compression {other}"),
    };
    name.to_owned()
}

fn packbits(data: &[u8], length: usize) -> Result<Vec<u8>, Rejected> {
    let short = || reject::truncated("the PackBits data end early");
    let mut out = Vec::with_capacity(length);
    let mut rest = data;
    while out.len() < length {
        let (head, after) = rest.split_first().ok_or_else(short)?;
        rest = after;
        match *head as i8 {
            -128 => {}
            n if n >= 0 => {
                let (literal, after) = rest.split_at_checked(n as usize + 1).ok_or_else(short)?;
                out.extend_from_slice(literal);
                rest = after;
            }
            n => {
                let (byte, after) = rest.split_first().ok_or_else(short)?;
                out.resize(out.len() + 1 - n as usize, *byte);
                rest = after;
            }
        }
    }
    out.truncate(length);
    Ok(out)
}

/// A JPEG stream whose tables may stand elsewhere. Whether its colours are those of the page, or luma and chroma, the page says.
fn jpeg(page: &Page<'_>, data: &[u8], rows: usize) -> Result<Vec<u8>, Rejected> {
    let failed = |error: turbojpeg::Error| reject::corrupt(error);
    let (format, channels) = match page.pixel_bits() / page.bits {
        _ if page.bits != 8 => {
            return Err(reject::unsupported("TIFF with JPEG of other than 8 bits"));
        }
        1 => (PixelFormat::GRAY, 1),
        3 => (PixelFormat::RGB, 3),
        4 => (PixelFormat::CMYK, 4),
        _ => return Err(reject::unsupported("TIFF with JPEG of other than 1, 3 or 4 channels")),
    };
    let tables = page.jpeg_tables.and_then(|tables| tables.strip_prefix(b"\xff\xd8"));
    let tables =
        tables.map_or(&[][..], |tables| tables.strip_suffix(b"\xff\xd9").unwrap_or(tables));
    let data =
        data.strip_prefix(b"\xff\xd8").ok_or_else(|| reject::corrupt("no JPEG in a TIFF"))?;
    let transform = u8::from(page.photometric == 6);
    let adobe = [b"\xff\xd8\xff\xee\0\x0eAdobe\0\x64\0\0\0\0".as_slice(), &[transform]].concat();
    let stream = [&adobe, tables, data].concat();
    let mut decompressor = Decompressor::new().map_err(failed)?;
    decompressor.set_scan_limit(MAX_SCANS).map_err(failed)?;
    let header = decompressor.read_header(&stream).map_err(failed)?;
    if header.width > page.chunk_width || header.height > page.chunk_height || header.height < rows
    {
        return Err(reject::corrupt("a JPEG in a TIFF has another size than its strip"));
    }
    let pitch = page.chunk_width * channels;
    let mut out = vec![0; pitch * header.height];
    let image = Image {
        pixels: out.as_mut_slice(),
        width: header.width,
        pitch,
        height: header.height,
        format,
    };
    decompressor.decompress(&stream, image).map_err(failed)?;
    Ok(out)
}

/// Each sample was stored as its difference to the one before.
fn add_up(page: &Page<'_>, data: &mut [u8]) {
    let step = if page.is_planar { 1 } else { page.samples };
    let line_bytes = page.line_bytes(page.chunk_width);
    for line in data.chunks_exact_mut(line_bytes) {
        match page.bits {
            8 => (step..line.len()).for_each(|x| line[x] = line[x].wrapping_add(line[x - step])),
            16 => {
                let (line, little) = (line.as_chunks_mut::<2>().0, page.is_little);
                let get =
                    |v: [u8; 2]| if little { u16::from_le_bytes(v) } else { u16::from_be_bytes(v) };
                for x in step..line.len() {
                    let sum = get(line[x]).wrapping_add(get(line[x - step]));
                    line[x] = if little { sum.to_le_bytes() } else { sum.to_be_bytes() };
                }
            }
            32 => {
                let (line, little) = (line.as_chunks_mut::<4>().0, page.is_little);
                let get =
                    |v: [u8; 4]| if little { u32::from_le_bytes(v) } else { u32::from_be_bytes(v) };
                for x in step..line.len() {
                    let sum = get(line[x]).wrapping_add(get(line[x - step]));
                    line[x] = if little { sum.to_le_bytes() } else { sum.to_be_bytes() };
                }
            }
            _ => {}
        }
    }
}

/// Floats were stored as all their first bytes, then all their second ones, and so on, each as its difference to the one before.
fn join_floats(page: &Page<'_>, data: &mut [u8]) {
    let step = if page.is_planar { 1 } else { page.samples };
    let bytes = page.bits / 8;
    for line in data.chunks_exact_mut(page.line_bytes(page.chunk_width)) {
        (step..line.len()).for_each(|x| line[x] = line[x].wrapping_add(line[x - step]));
        let apart = line.to_vec();
        let count = line.len() / bytes;
        for (index, float) in line.chunks_exact_mut(bytes).enumerate() {
            for (at, byte) in float.iter_mut().enumerate() {
                let from = if page.is_little { bytes - 1 - at } else { at };
                *byte = apart[from * count + index];
            }
        }
    }
}
