//! GIF by the `gif` crate. In: bytes. Out: header, or the first frame on its canvas in RGB, as PIL makes it.

use std::borrow::Cow;
use std::io::Cursor;

use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, Frame, MemoryLimit};

use super::reject;
use crate::image::{Header, Rejected, Rgb};

/// Where the palette of all frames begins, and what says that there is one.
const PALETTE_AT: usize = 13;
const FLAGS_AT: usize = 10;

/// The file, with greys for a palette if it has none of its own, as in PIL.
fn with_palette(bytes: &[u8]) -> Cow<'_, [u8]> {
    match bytes.split_at_checked(PALETTE_AT) {
        Some((head, rest)) if head[FLAGS_AT] & 0x80 == 0 => {
            let mut head = head.to_vec();
            head[FLAGS_AT] |= 0x87;
            let greys: Vec<u8> = (0..=255).flat_map(|level| [level; 3]).collect();
            Cow::Owned([&head, &greys, rest].concat())
        }
        _ => Cow::Borrowed(bytes),
    }
}

fn decoder(bytes: &[u8], is_decoded: bool) -> Result<Decoder<Cursor<&[u8]>>, Rejected> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.skip_frame_decoding(!is_decoded);
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.read_info(Cursor::new(bytes)).map_err(reject_gif)
}

/// The canvas grows to hold the first frame where a frame lies outside it, as PIL's does.
pub(super) fn header(bytes: &[u8]) -> Result<Header, Rejected> {
    let bytes = with_palette(bytes);
    let mut reader = decoder(&bytes, false)?;
    let canvas = (u32::from(reader.width()), u32::from(reader.height()));
    let (right, bottom) = match reader.next_frame_info().map_err(reject_gif)? {
        Some(frame) => extent(frame),
        None => return Err(reject::truncated("no frame")),
    };
    let mut frames = 1;
    while let Ok(Some(_)) = reader.next_frame_info() {
        frames += 1;
    }
    Ok(Header {
        width: canvas.0.max(right),
        height: canvas.1.max(bottom),
        format: "gif",
        color: "p",
        orientation: 1,
        frames,
    })
}

fn extent(frame: &Frame<'_>) -> (u32, u32) {
    let right = u32::from(frame.left) + u32::from(frame.width);
    let bottom = u32::from(frame.top) + u32::from(frame.height);
    (right, bottom)
}

/// The first frame on its canvas; what it leaves free has the transparent colour, else colour 0.
pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Rgb, Rejected> {
    let bytes = with_palette(bytes);
    let mut reader = decoder(&bytes, true)?;
    let global = reader.global_palette().map(<[u8]>::to_vec);
    let frame = reader.read_next_frame().map_err(reject_gif)?;
    let frame = frame.ok_or_else(|| reject::truncated("no frame"))?;
    let palette = frame.palette.as_deref().or(global.as_deref());
    let color = |index: u8| match palette {
        Some(palette) => {
            palette.as_chunks::<3>().0.get(usize::from(index)).copied().unwrap_or([0; 3])
        }
        None => [index; 3],
    };
    let width = header.width as usize;
    let mut pixels = color(frame.transparent.unwrap_or(0)).repeat(width * header.height as usize);
    let lines = frame.buffer.chunks_exact(usize::from(frame.width).max(1));
    for (y, line) in lines.enumerate() {
        let start = ((usize::from(frame.top) + y) * width + usize::from(frame.left)) * 3;
        let target = pixels[start..start + line.len() * 3].as_chunks_mut::<3>().0;
        for (out, index) in target.iter_mut().zip(line) {
            *out = color(*index);
        }
    }
    Ok(Rgb { width: header.width, height: header.height, pixels })
}

fn reject_gif(error: DecodingError) -> Rejected {
    match &error {
        DecodingError::Io(io) => reject::of_io(io, &error),
        _ => reject::of_text(&error),
    }
}
