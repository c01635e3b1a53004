//! JPEG by libjpeg-turbo, as PIL decodes it. In: bytes. Out: header, then the stored square, or full-size RGB. Never accepts a file
//! that ends early, and never holds more of a picture than the rows at hand where nothing has to be turned.

use std::cell::RefCell;

use image::metadata::Orientation;

use crate::image::{Header, RejectReason, Rejected, Rgb};
use crate::libjpeg::{JpegDecoder, OpenJpeg};
use crate::resize::Resizer;
use tuwen_settings::{DecodeSettings, DecodeSpeed};

/// Bytes of rows that are decoded at once: they are still in the caches near the core when they are resized.
const ROWS_BYTES: usize = 64 << 10;

/// What a thread keeps from one picture to the next.
#[derive(Default)]
struct Kept {
    decoder: Option<JpegDecoder>,
    resizer: Resizer,
    rows: Vec<u8>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Whether `bytes` are to be a JPEG.
pub(crate) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff])
}

/// The header, and the square of `settings.size` if `check` lets the header pass.
pub(crate) fn square<T>(
    bytes: &[u8],
    settings: &DecodeSettings,
    check: impl FnOnce(&Header) -> Result<T, Rejected>,
) -> Result<(Header, Vec<u8>), Rejected> {
    // Not kept while it works: a panic leaves none behind that is half-way.
    let mut kept = KEPT.take();
    let decoder = match &mut kept.decoder {
        Some(decoder) => decoder,
        None => kept.decoder.insert(JpegDecoder::new()?),
    };
    let decoded = decoder.open(bytes).and_then(|mut file| {
        let header = header(bytes, &file)?;
        let checked = check(&header);
        let pixels = checked.and_then(|_held| {
            let turned = settings.apply_orientation && header.orientation != 1;
            file.start(denominator(&file, settings))?;
            let mut square = vec![0; settings.size as usize * settings.size as usize * 3];
            if turned {
                let rgb = whole(file, &mut kept.rows)?.oriented(header.orientation);
                kept.resizer.resize(&rgb, settings.size, settings.filter, &mut square);
            } else {
                streamed(file, settings, &mut kept.resizer, &mut kept.rows, &mut square)?;
            }
            Ok(square)
        });
        match pixels {
            Ok(pixels) => Ok((header, pixels)),
            Err(rejected) => Err(rejected.with(&header)),
        }
    });
    KEPT.set(kept);
    decoded
}

fn header(bytes: &[u8], file: &OpenJpeg<'_>) -> Result<Header, Rejected> {
    let color = match file.header.components {
        1 => "l",
        3 => "rgb",
        4 => "cmyk",
        n => {
            let detail = format!("expected a JPEG of 1, 3 or 4 components, found {n}");
            return Err(Rejected::new(RejectReason::UnsupportedFormat, detail));
        }
    };
    Ok(Header {
        width: file.header.width,
        height: file.header.height,
        format: "jpeg",
        color,
        orientation: orientation(bytes),
        frames: 1,
    })
}

/// Under `fast` the largest of 8, 4, 2 and 1 that leaves the shorter side at twice the stored size or more.
fn denominator(file: &OpenJpeg<'_>, settings: &DecodeSettings) -> u32 {
    let short_px = file.header.width.min(file.header.height);
    let enough = |denominator: &u32| short_px / denominator >= 2 * settings.size;
    let fast = [8, 4, 2].into_iter().find(enough).filter(|_| settings.speed == DecodeSpeed::Fast);
    fast.unwrap_or(1)
}

/// Rows are resized as they come.
fn streamed(
    mut file: OpenJpeg<'_>,
    settings: &DecodeSettings,
    resizer: &mut Resizer,
    rows: &mut Vec<u8>,
    square: &mut [u8],
) -> Result<(), Rejected> {
    let (width, height) = (file.header.width, file.header.height);
    let row_bytes = file.header.row_bytes();
    // An even number, since the resizer takes them in twos.
    let at_once = (ROWS_BYTES / row_bytes).max(2) & !1;
    rows.resize(at_once * row_bytes, 0);
    resizer.begin(width, height, settings.size, settings.filter);
    loop {
        let rgb = next_rgb(&mut file, rows)?;
        if rgb.is_empty() {
            return file.finish();
        }
        resizer.push(rgb, square);
    }
}

/// The picture in full size.
fn whole(mut file: OpenJpeg<'_>, rows: &mut Vec<u8>) -> Result<Rgb, Rejected> {
    let (width, height) = (file.header.width, file.header.height);
    let row_bytes = file.header.row_bytes();
    rows.resize((ROWS_BYTES / row_bytes).max(1) * row_bytes, 0);
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    loop {
        let rgb = next_rgb(&mut file, rows)?;
        if rgb.is_empty() {
            file.finish()?;
            return Ok(Rgb { width, height, pixels });
        }
        pixels.extend_from_slice(rgb);
    }
}

/// The next rows of the picture as RGB, in `rows`; empty after the last.
fn next_rgb<'r>(file: &mut OpenJpeg<'_>, rows: &'r mut [u8]) -> Result<&'r [u8], Rejected> {
    let read = file.read(rows)?;
    let n_bytes = match file.header.is_cmyk() {
        true => inverted_cmyk_to_rgb(&mut rows[..read]),
        false => read,
    };
    Ok(&rows[..n_bytes])
}

/// Adobe stores CMYK inverted, and PIL takes every four-component JPEG to be so; then PIL's `cmyk2rgb`. In place; how many bytes
/// there are then.
fn inverted_cmyk_to_rgb(pixels: &mut [u8]) -> usize {
    let n_pixels = pixels.len() / 4;
    for i in 0..n_pixels {
        let inverted = [pixels[4 * i], pixels[4 * i + 1], pixels[4 * i + 2], pixels[4 * i + 3]];
        pixels[3 * i..3 * i + 3].copy_from_slice(&rgb_of_cmyk(inverted.map(|v| 255 - v)));
    }
    n_pixels * 3
}

/// PIL's `cmyk2rgb` (libImaging/Convert.c): paper white minus black, minus ink's share of it.
pub(crate) fn rgb_of_cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let white = 255 - u32::from(k);
    [c, m, y].map(|ink| {
        let product = u32::from(ink) * white + 128;
        white.saturating_sub(((product >> 8) + product) >> 8) as u8
    })
}

/// The EXIF orientation in the first APP1 segment that has one, else 1.
fn orientation(bytes: &[u8]) -> u8 {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) =
        bytes.get(at..at + 4).and_then(|s| s.first_chunk::<4>())
    {
        let length = usize::from(u16::from_be_bytes([high, low]));
        if marker == 0xda || length < 2 {
            break;
        }
        let segment = bytes.get(at + 4..at + 2 + length).unwrap_or_default();
        if marker == 0xe1
            && let Some(orientation) =
                segment.strip_prefix(b"Exif\0\0").and_then(Orientation::from_exif_chunk)
        {
            return orientation.to_exif();
        }
        at += 2 + length;
    }
    1
}
