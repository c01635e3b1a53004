//! The strips and tiles of a page. In: its tags. Out: its samples, as they lie in the file after decompression. Sources: TIFF 6.0,
//! Adobe's TIFF Technical Notes 1 and 2 (deflate, JPEG), and libtiff for what they leave open.

use std::io::Read;
use std::ops::Range;

use flate2::read::ZlibDecoder;
use weezl::decode::Decoder as LzwDecoder;
use weezl::{BitOrder, LzwStatus};

use super::super::reject;
use super::ccitt::{self, Scheme};
use super::page::Page;
use crate::image::Rejected;
use crate::libjpeg::JpegDecoder;

/// Bytes that strips and tiles may have together for each byte of the file, in which equal ones may lie in one place.
const SHARED: usize = 16;

/// The samples of each plane: lines of whole bytes, each sample of all channels of a pixel, then the next pixel.
pub(super) fn planes(file: &[u8], page: &Page<'_>) -> Result<Vec<Vec<u8>>, Rejected> {
    let (across, down) = page.chunks();
    let n_planes = if page.is_planar { page.samples } else { 1 };
    let line_bytes = page.line_bytes(page.width);
    let chunk_line_bytes = page.line_bytes(page.chunk_width);
    if across > 1 && chunk_line_bytes * 8 != page.chunk_width * page.pixel_bits() {
        return Err(reject::unsupported("TIFF with tiles that end within a byte"));
    }
    let extents = extents(file, page, n_planes * across * down)?;
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
            let extent = extents[plane * across * down + index].clone();
            let chunk = chunk(file, page, extent, rows)?;
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

/// Where the first `count` strips or tiles lie. One whose length is not said ends where the next begins.
fn extents(file: &[u8], page: &Page<'_>, count: usize) -> Result<Vec<Range<usize>>, Rejected> {
    let end_of_file = file.len() as u64;
    let mut starts = page.offsets.clone();
    starts.sort_unstable();
    let mut n_bytes = 0;
    let mut extents = Vec::new();
    for index in 0..count {
        let start = page.offsets.get(index).copied().filter(|start| *start <= end_of_file);
        let start = start.ok_or_else(ends_early)?;
        let end = match page.lengths.get(index) {
            // Without compression the size says it, whatever stands in the tag.
            _ if page.compression == 1 => start,
            Some(length) => start.saturating_add(*length),
            None => {
                let next = starts.partition_point(|other| *other <= start);
                starts.get(next).copied().unwrap_or(end_of_file)
            }
        };
        // What is compressed may end early without harm, at least by a byte of padding.
        let extent = start as usize..end.min(end_of_file) as usize;
        n_bytes += extent.len();
        if n_bytes > file.len().saturating_mul(SHARED) {
            return Err(reject::corrupt("strips or tiles that lie over one another"));
        }
        extents.push(extent);
    }
    Ok(extents)
}

fn ends_early() -> Rejected {
    reject::truncated("the TIFF ends before its picture does")
}

/// One strip or tile of `rows` lines, decompressed, and the differences summed up.
fn chunk(
    file: &[u8],
    page: &Page<'_>,
    extent: Range<usize>,
    rows: usize,
) -> Result<Vec<u8>, Rejected> {
    let length = page.chunk_bytes(rows);
    let data = match page.compression {
        1 => file[extent.start..].get(..length).ok_or_else(ends_early)?,
        _ => &file[extent],
    };
    let reversed: Vec<u8>;
    let data = if page.is_reversed && page.compression != 7 {
        reversed = data.iter().map(|byte| byte.reverse_bits()).collect();
        &reversed
    } else {
        data
    };
    let mut out = match page.compression {
        1 => data.to_vec(),
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
    // Of the rows that libjpeg gives each pixel has so many bytes; a grey one has its level three times.
    let (channels, components, pixel_bytes) = match page.pixel_bits() / page.bits {
        _ if page.bits != 8 => {
            return Err(reject::unsupported("TIFF with JPEG of other than 8 bits"));
        }
        1 => (1, 1, 3),
        3 => (3, 3, 3),
        4 => (4, 4, 4),
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
    let mut decoder = JpegDecoder::new()?;
    let mut jpeg = decoder.open(&stream)?;
    let (width, height) = (jpeg.header.width as usize, jpeg.header.height as usize);
    if width > page.chunk_width || height > page.chunk_height || height < rows {
        return Err(reject::corrupt("a JPEG in a TIFF has another size than its strip"));
    }
    if jpeg.header.components != components {
        return Err(reject::corrupt("a JPEG in a TIFF has other channels than its page"));
    }
    jpeg.start(1)?;
    let mut row = vec![0; width * pixel_bytes];
    let mut out = vec![0; page.chunk_width * channels * height];
    for line in out.chunks_exact_mut(page.chunk_width * channels) {
        jpeg.read(&mut row)?;
        let pixels = row.chunks_exact(pixel_bytes);
        for (out, pixel) in line.chunks_exact_mut(channels).zip(pixels) {
            out.copy_from_slice(&pixel[..channels]);
        }
    }
    jpeg.finish()?;
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
