//! BMP. In: bytes. Out: header, or full-size RGB, as the `image` crate reads it, and what PIL reads besides: the long header of OS/2, and a
//! last line without its padding.

use std::borrow::Cow;

use image::ImageFormat;

use super::{any, reject};
use crate::image::{Header, RejectReason, Rejected, Rgb};

/// Bytes before the header, whose own length comes first in it.
const FILE_HEADER_BYTES: usize = 14;

/// Lengths of headers: of Windows, and the long one of OS/2, which begins as that does.
const WINDOWS_BYTES: u32 = 40;
const OS2_BYTES: u32 = 64;

/// The longest side that the `image` crate reads.
const LONGEST_PX: u32 = 65_535;

pub(super) fn header(bytes: &[u8]) -> Result<Header, Rejected> {
    let bytes = as_windows(bytes)?;
    let header = any::header(&bytes, ImageFormat::Bmp)?;
    // The decoder tells what it makes of a palette, the header what the file has.
    let color = if matches!(bits(&bytes), 1..=8) { "p" } else { header.color };
    Ok(Header { color, ..header })
}

pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Rgb, Rejected> {
    let bytes = as_windows(bytes)?;
    let padding = (header.width as usize * bits(&bytes)).div_ceil(8).wrapping_neg() % 4;
    match any::pixels(&bytes, ImageFormat::Bmp, header) {
        // The last line's padding is no part of the picture, and some leave it out.
        Err(rejected) if rejected.reason == RejectReason::Truncated && padding > 0 => {
            let padded = [&bytes, &[0; 3][..padding]].concat();
            any::pixels(&padded, ImageFormat::Bmp, header)
        }
        found => found,
    }
}

/// The file with a header that the `image` crate reads.
///
/// # Errors
/// A side is too long for it; or it is a file of OS/2 whose compressions Windows does not have.
fn as_windows(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Rejected> {
    let word = |at: usize| {
        let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
        word.map(|word| u32::from_le_bytes(*word))
    };
    let Some(header_bytes) = word(FILE_HEADER_BYTES) else { return Ok(Cow::Borrowed(bytes)) };
    if let (WINDOWS_BYTES.., Some(width), Some(height)) = (header_bytes, word(18), word(22)) {
        let (width, height) =
            (width.cast_signed().unsigned_abs(), height.cast_signed().unsigned_abs());
        if width.max(height) > LONGEST_PX {
            let detail =
                format!("BMP of {width} x {height}, with a side of more than {LONGEST_PX} pixels");
            return Err(reject::unsupported(detail));
        }
    }
    if header_bytes != OS2_BYTES {
        return Ok(Cow::Borrowed(bytes));
    }
    if let Some(compression @ 3..) = word(30) {
        return Err(reject::unsupported(format!("BMP of OS/2 with compression {compression}")));
    }
    let (begin, end) = (FILE_HEADER_BYTES + 40, FILE_HEADER_BYTES + 64);
    let (Some(head), Some(rest), Some(pixels_at)) =
        (bytes.get(..begin), bytes.get(end..), word(10))
    else {
        return Err(reject::truncated("the BMP ends within its header"));
    };
    let mut file = [head, rest].concat();
    let pixels_at = pixels_at.saturating_sub(OS2_BYTES - WINDOWS_BYTES);
    file[10..14].copy_from_slice(&pixels_at.to_le_bytes());
    file[14..18].copy_from_slice(&WINDOWS_BYTES.to_le_bytes());
    Ok(Cow::Owned(file))
}

/// Bits a pixel, in a header of OS/2's first version or of Windows.
fn bits(bytes: &[u8]) -> usize {
    let at = if bytes.get(FILE_HEADER_BYTES) == Some(&12) { 24 } else { 28 };
    bytes.get(at..at + 2).map_or(0, |bits| usize::from(u16::from_le_bytes([bits[0], bits[1]])))
}
