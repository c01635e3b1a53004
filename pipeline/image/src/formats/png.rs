//! PNG by the `png` crate. In: bytes. Out: header, or full-size RGB as PIL's `convert("RGB")` makes it: alpha is dropped and not
//! blended, 16 bits keep their high byte, an APNG gives the picture that those see who know no animations. A file whose pixels are
//! whole is whole, whatever comes after them.

use std::io::Cursor;

use image::metadata::Orientation;
use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Info, Limits, Reader};

use super::reject::{self, ALLOC_BYTES_FIXED, ALLOC_BYTES_PER_PX};
use crate::image::{Header, RejectReason, Rejected, Rgb};

/// Adam7: first column, first row, column step, row step of each pass (PNG specification, 8.2).
const PASSES: [[usize; 4]; 7] = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
];

pub(super) fn header(bytes: &[u8]) -> Result<Header, Rejected> {
    let reader = reader(bytes, ALLOC_BYTES_FIXED)?;
    let info = reader.info();
    let color = match (info.color_type, info.bit_depth == BitDepth::Sixteen) {
        (ColorType::Grayscale, false) => "l",
        (ColorType::Grayscale, true) => "l16",
        (ColorType::Rgb, false) => "rgb",
        (ColorType::Rgb, true) => "rgb16",
        (ColorType::Indexed, _) => "p",
        (ColorType::GrayscaleAlpha, false) => "la",
        (ColorType::GrayscaleAlpha, true) => "la16",
        (ColorType::Rgba, false) => "rgba",
        (ColorType::Rgba, true) => "rgba16",
    };
    // A picture that no frame control precedes is none of the animation's.
    let frames = info.animation_control().map_or(1, |control| {
        control.num_frames.saturating_add(u32::from(info.frame_control.is_none()))
    });
    let exif = info.exif_metadata.as_deref();
    let orientation = exif.and_then(Orientation::from_exif_chunk).map_or(1, Orientation::to_exif);
    let (width, height) = (info.width, info.height);
    Ok(Header { width, height, format: "png", color, orientation, frames: frames.max(1) })
}

pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Rgb, Rejected> {
    let area_px = u64::from(header.width) * u64::from(header.height);
    let mut reader = reader(bytes, ALLOC_BYTES_FIXED + ALLOC_BYTES_PER_PX * area_px)?;
    let (width, height) = (header.width as usize, header.height as usize);
    let lines = Lines::new(reader.info());
    let mut samples = vec![0; reader.output_line_size(header.width).unwrap_or(0)];
    let mut pixels = vec![0; width * height * 3];
    let out = pixels.as_chunks_mut::<3>().0;
    // Exactly the rows that there are: to ask for one more would be to ask for the chunk after the pixels.
    if reader.info().interlaced {
        let mut line = vec![[0; 3]; width];
        for [left, top, right_by, down_by] in PASSES {
            let columns = left..width;
            for row in (top..height).step_by(down_by).filter(|_| !columns.is_empty()) {
                reader.read_row(&mut samples).map_err(reject_png)?;
                let line = &mut line[..columns.len().div_ceil(right_by)];
                lines.rgb(&samples, line);
                for (column, rgb) in columns.clone().step_by(right_by).zip(line) {
                    out[row * width + column] = *rgb;
                }
            }
        }
    } else {
        for line in out.chunks_exact_mut(width) {
            reader.read_row(&mut samples).map_err(reject_png)?;
            lines.rgb(&samples, line);
        }
    }
    Ok(Rgb { width: header.width, height: header.height, pixels })
}

fn reader(bytes: &[u8], max_alloc_bytes: u64) -> Result<Reader<Cursor<&[u8]>>, Rejected> {
    let mut options = DecodeOptions::default();
    // The checksum of the pixels themselves is the one that tells damage; PIL looks at no other behind the header.
    options.set_ignore_adler32(false);
    options.set_ignore_crc(true);
    check_header(bytes)?;
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(Limits { bytes: usize::try_from(max_alloc_bytes).unwrap_or(usize::MAX) });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.read_info().map_err(reject_png)
}

/// The checksums of the chunks before the pixels that a picture cannot do without.
fn check_header(bytes: &[u8]) -> Result<(), Rejected> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let name = &head[4..];
        let sum = after.get(length..).and_then(|after| after.first_chunk::<4>());
        let Some(sum) = sum.filter(|_| name != b"IDAT") else { break };
        if matches!(name, b"IHDR" | b"PLTE")
            && crc32fast::hash(&rest[4..8 + length]) != u32::from_be_bytes(*sum)
        {
            let name = name.escape_ascii();
            return Err(reject::corrupt(format!("the checksum of {name} is another one")));
        }
        rest = &after[length + 4..];
    }
    Ok(())
}

/// How a row of samples becomes RGB.
struct Lines {
    channels: usize,
    bits: usize,
    /// The colour of each level of a single channel.
    colors: Vec<[u8; 3]>,
}

impl Lines {
    fn new(info: &Info<'_>) -> Self {
        let bits = info.bit_depth as usize;
        let steps = (1_usize << bits.min(8)) - 1;
        let is_indexed = info.color_type == ColorType::Indexed;
        let mut colors = vec![[0; 3]; steps + 1];
        if !is_indexed {
            colors = (0..=steps).map(|level| [(level * 255 / steps) as u8; 3]).collect();
        } else if let Some(palette) = &info.palette {
            // What a palette leaves out is black, as in PIL.
            let named = palette.as_chunks::<3>().0;
            colors.iter_mut().zip(named).for_each(|(color, named)| *color = *named);
        }
        Self { channels: info.color_type.samples(), bits, colors }
    }

    fn rgb(&self, samples: &[u8], out: &mut [[u8; 3]]) {
        fn many<const BYTES: usize>(samples: &[u8], out: &mut [[u8; 3]], at: [usize; 3]) {
            for (out, pixel) in out.iter_mut().zip(samples.as_chunks::<BYTES>().0) {
                *out = at.map(|at| pixel[at]);
            }
        }
        match (self.channels, self.bits) {
            (1, 16) => many::<2>(samples, out, [0; 3]),
            (1, bits) => {
                for (x, out) in out.iter_mut().enumerate() {
                    let byte = samples[x * bits / 8] >> (8 - bits - x * bits % 8);
                    *out = self.colors[usize::from(byte) & (self.colors.len() - 1)];
                }
            }
            (2, 8) => many::<2>(samples, out, [0; 3]),
            (2, _) => many::<4>(samples, out, [0; 3]),
            (3, 8) => many::<3>(samples, out, [0, 1, 2]),
            (3, _) => many::<6>(samples, out, [0, 2, 4]),
            (_, 8) => many::<4>(samples, out, [0, 1, 2]),
            _ => many::<8>(samples, out, [0, 2, 4]),
        }
    }
}

fn reject_png(error: DecodingError) -> Rejected {
    match &error {
        DecodingError::IoError(io) => reject::of_io(io, &error),
        DecodingError::LimitsExceeded => Rejected::new(RejectReason::OutOfMemory, error),
        _ => reject::of_text(&error),
    }
}
