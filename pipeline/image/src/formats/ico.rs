//! Icons and cursors. In: bytes. Out: header, or the largest picture in RGB. As PIL: of pictures of equal size the one of fewest
//! bits a pixel; what the masks hide has its colour still, and a file that ends within them is whole.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::{ExtendedColorType, ImageDecoder};

use super::reject::{self, ALLOC_BYTES_FIXED, ALLOC_BYTES_PER_PX};
use super::{any, png};
use crate::image::{Header, Rejected, Rgb};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Bytes of a bitmap's header and palette, at most.
const DIB_HEAD_BYTES: usize = 4096;

pub(super) fn header(bytes: &[u8]) -> Result<Header, Rejected> {
    let (format, picture) = picture(bytes)?;
    if picture.starts_with(PNG) {
        return Ok(Header { format, frames: 1, ..png::header(picture)? });
    }
    let head = dib(&picture[..picture.len().min(DIB_HEAD_BYTES)])?;
    let decoder = decoder(&head, ALLOC_BYTES_FIXED)?;
    let (width, height) = decoder.dimensions();
    let color = match (format, decoder.original_color_type()) {
        // An icon's mask makes it transparent, whatever its colours.
        ("ico", _) | (_, ExtendedColorType::Rgba8) => "rgba",
        _ if decoder.get_palette().is_some() => "p",
        _ => "rgb",
    };
    Ok(Header { width, height, format, color, orientation: 1, frames: 1 })
}

pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Rgb, Rejected> {
    let (_, picture) = picture(bytes)?;
    if picture.starts_with(PNG) {
        return png::pixels(picture, header);
    }
    let area_px = u64::from(header.width) * u64::from(header.height);
    any::rgb(decoder(&dib(picture)?, ALLOC_BYTES_FIXED + ALLOC_BYTES_PER_PX * area_px)?)
}

fn decoder(dib: &[u8], max_alloc_bytes: u64) -> Result<BmpDecoder<Cursor<&[u8]>>, Rejected> {
    let mut decoder =
        BmpDecoder::new_without_file_header(Cursor::new(dib)).map_err(reject::of_image)?;
    decoder.set_limits(any::limits(max_alloc_bytes)).map_err(reject::of_image)?;
    Ok(decoder)
}

/// The format's name, and the file from where its largest picture begins.
fn picture(bytes: &[u8]) -> Result<(&'static str, &[u8]), Rejected> {
    let is_cursor = bytes.get(2) == Some(&2);
    let directory = bytes.get(6..).unwrap_or_default().as_chunks::<16>().0;
    let count = bytes.get(4..6).map_or(0, |n| usize::from(u16::from_le_bytes([n[0], n[1]])));
    let mut best: Option<((u32, u32), &[u8; 16])> = None;
    for entry in &directory[..count.min(directory.len())] {
        let [width, height] =
            [entry[0], entry[1]].map(|px| if px == 0 { 256 } else { u32::from(px) });
        let bits = match (u32::from(u16::from_le_bytes([entry[6], entry[7]])), entry[2]) {
            // Where a cursor has its hot spot.
            _ if is_cursor => 0,
            (0, 0 | 1) => 256,
            (0, colors) => u8::BITS - (colors - 1).leading_zeros(),
            (bits, _) => bits,
        };
        let rank = (width * height, u32::MAX - bits);
        if best.is_none_or(|(before, _)| rank > before) {
            best = Some((rank, entry));
        }
    }
    let (_, entry) = best.ok_or_else(|| reject::truncated("no picture"))?;
    let offset = u32::from_le_bytes([entry[12], entry[13], entry[14], entry[15]]) as usize;
    let picture = bytes.get(offset..).filter(|picture| !picture.is_empty());
    let picture = picture.ok_or_else(|| reject::truncated("the picture lies beyond the file"))?;
    Ok((if is_cursor { "cur" } else { "ico" }, picture))
}

/// The bitmap with the height of its colours alone; the file's is that of colours and mask together.
fn dib(picture: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut dib = picture.to_vec();
    let height = match dib.first_chunk::<4>().map(|size| u32::from_le_bytes(*size)) {
        Some(12) => dib.get_mut(6..8),
        _ => dib.get_mut(8..12),
    };
    match height.ok_or_else(|| reject::truncated("no bitmap header"))? {
        [low, high] => {
            [*low, *high] = (u16::from_le_bytes([*low, *high]) / 2).to_le_bytes();
        }
        height => {
            let both = i32::from_le_bytes([height[0], height[1], height[2], height[3]]);
            height.copy_from_slice(&(both / 2).to_le_bytes());
        }
    }
    Ok(dib)
}
