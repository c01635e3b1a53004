//! TIFF. In: bytes. Out: header, or full-size RGB of the first page as PIL makes it: turned as the orientation says, which is why
//! the header tells the turned size and no orientation. `directory.rs` reads the tags, `page.rs` the layout they mean, `strips.rs`
//! and `ccitt.rs` the samples. PIL reads TIFF by its own table of what fits together, and by libtiff; the `tiff` crate knows no
//! palettes, alpha beside grey, faxes but of one kind, planes of CMYK, subsampled chroma.

mod ccitt;
mod directory;
mod page;
mod strips;

use page::Page;

use super::reject;
use crate::image::{Header, Rejected, Rgb};
use crate::jpeg::rgb_of_cmyk;

pub(super) fn header(bytes: &[u8]) -> Result<Header, Rejected> {
    let tags = directory::first(bytes)?;
    let page = page::page(&tags)?;
    let (width, height) = (page.width as u32, page.height as u32);
    let (width, height) = if page.orientation < 5 { (width, height) } else { (height, width) };
    let frames = directory::pages(bytes);
    Ok(Header { width, height, format: "tiff", color: color(&page)?, orientation: 1, frames })
}

pub(super) fn pixels(bytes: &[u8]) -> Result<Rgb, Rejected> {
    let tags = directory::first(bytes)?;
    let page = page::page(&tags)?;
    let planes = strips::planes(bytes, &page)?;
    let colors = Colors::new(&page);
    let line_bytes = page.line_bytes(page.width);
    let mut pixels = vec![0; page.width * page.height * 3];
    let mut levels = vec![0; page.width * page.samples];
    for (y, out) in pixels.chunks_exact_mut(page.width * 3).enumerate() {
        for (index, plane) in planes.iter().enumerate() {
            let line = &plane[y * line_bytes..(y + 1) * line_bytes];
            let step = planes.len();
            let samples = page.width * page.samples / step;
            for (x, level) in levels[index..].iter_mut().step_by(step).take(samples).enumerate() {
                *level = colors.level(&page, line, x);
            }
        }
        for (out, levels) in
            out.as_chunks_mut::<3>().0.iter_mut().zip(levels.chunks_exact(page.samples))
        {
            *out = colors.rgb(levels);
        }
    }
    let rgb = Rgb { width: page.width as u32, height: page.height as u32, pixels };
    Ok(if page.orientation == 1 { rgb } else { rgb.oriented(page.orientation) })
}

/// The colour type, of pages that are supported.
fn color(page: &Page<'_>) -> Result<&'static str, Rejected> {
    let has_alpha = page.extra.first().is_some_and(|kind| *kind != 0);
    let is_whole = page.sample_format <= 2 && page.bits <= 16;
    let (shallow, deep) = match (page.photometric, page.samples) {
        (0 | 1, 1) if page.sample_format == 3 => ("float", "float"),
        (0 | 1, 1) if page.bits > 8 => ("l16", "l16"),
        (0 | 1, 2..) if is_whole && has_alpha => ("la", "la16"),
        (0 | 1, 1..) if is_whole => ("l", "l16"),
        (2, 4..) if is_whole && (has_alpha || page.extra.is_empty()) => ("rgba", "rgba16"),
        (2, 3..) if is_whole => ("rgb", "rgb16"),
        (3, 1..) if page.bits <= 8 => ("p", "p"),
        (5, 4..) if is_whole => ("cmyk", "cmyk"),
        (6, 1) if page.bits == 8 => ("l", "l"),
        (6, 3..) if page.bits == 8 => ("rgb", "rgb"),
        (8..=10, _) => return Err(reject::unsupported("TIFF in CIE L*a*b*")),
        (photometric, samples) => {
            let detail = format!(
                "TIFF of photometric interpretation {photometric} with {samples} samples of {} bits",
                page.bits
            );
            return Err(reject::unsupported(detail));
        }
    };
    Ok(if page.bits == 16 { deep } else { shallow })
}

/// What the samples of a page mean.
enum Meaning {
    Grey { is_inverted: bool },
    Rgb { is_premultiplied: bool },
    Palette(Vec<[u8; 3]>),
    Cmyk,
    YCbCr,
}

struct Colors {
    meaning: Meaning,
    /// By what a level of fewer than 8 bits is multiplied.
    scale: u8,
}

impl Colors {
    fn new(page: &Page<'_>) -> Self {
        // PIL leaves numbers that are no unsigned ones as they are.
        let is_unsigned = page.sample_format == 1 && page.bits <= 16;
        let meaning = match (page.photometric, page.samples) {
            (0, _) => Meaning::Grey { is_inverted: is_unsigned },
            (1, _) | (6, 1) => Meaning::Grey { is_inverted: false },
            (3, _) => Meaning::Palette(palette(page)),
            (5, _) => Meaning::Cmyk,
            // libjpeg has made RGB of it already.
            (6, _) if page.compression != 7 || page.is_planar => Meaning::YCbCr,
            _ => Meaning::Rgb {
                is_premultiplied: page.samples > 3 && page.extra.first() == Some(&1),
            },
        };
        let is_palette = matches!(meaning, Meaning::Palette(_));
        let scale = match page.bits {
            1 if !is_palette => 255,
            2 if !is_palette => 85,
            4 if !is_palette => 17,
            _ => 1,
        };
        Self { meaning, scale }
    }

    /// Sample `x` of a line in 8 bits: the high byte of 16 bits, other numbers cut to what 8 bits hold, as PIL does.
    fn level(&self, page: &Page<'_>, line: &[u8], x: usize) -> u8 {
        if page.bits < 8 {
            let shift = 8 - page.bits - x * page.bits % 8;
            return (line[x * page.bits / 8] >> shift & ((1 << page.bits) - 1)) * self.scale;
        }
        if page.bits == 12 {
            let [high, low] = [line[x * 3 / 2], line.get(x * 3 / 2 + 1).copied().unwrap_or(0)];
            return if x.is_multiple_of(2) { high } else { high << 4 | low >> 4 };
        }
        let bytes = page.bits / 8;
        let mut number = [0; 8];
        let sample = &line[x * bytes..(x + 1) * bytes];
        // In the order of a little end.
        for (at, byte) in number.iter_mut().take(bytes).enumerate() {
            *byte = sample[if page.is_little { at } else { bytes - 1 - at }];
        }
        let bits = u64::from_le_bytes(number);
        match (page.sample_format, page.bits) {
            (_, 8) => number[0],
            (1, 16) => number[1],
            (2, 16) => (bits as i16).clamp(0, 255) as u8,
            // PIL takes unsigned numbers of 32 bits for signed ones.
            (1 | 2, 32) => (bits as i32).clamp(0, 255) as u8,
            (2, _) => (bits as i64).clamp(0, 255) as u8,
            (3, 32) => f32::from_bits(bits as u32) as u8,
            (3, 64) => f64::from_bits(bits) as u8,
            _ => bits.min(255) as u8,
        }
    }

    fn rgb(&self, levels: &[u8]) -> [u8; 3] {
        match &self.meaning {
            Meaning::Grey { is_inverted: false } => [levels[0]; 3],
            Meaning::Grey { is_inverted: true } => [255 - levels[0]; 3],
            Meaning::Palette(colors) => {
                colors.get(usize::from(levels[0])).copied().unwrap_or([0; 3])
            }
            Meaning::Cmyk => rgb_of_cmyk([levels[0], levels[1], levels[2], levels[3]]),
            Meaning::Rgb { is_premultiplied: false } => [levels[0], levels[1], levels[2]],
            Meaning::Rgb { is_premultiplied: true } => {
                let alpha = u32::from(levels[3]);
                [levels[0], levels[1], levels[2]].map(|level| {
                    (u32::from(level) * 255).checked_div(alpha).unwrap_or(0).min(255) as u8
                })
            }
            Meaning::YCbCr => {
                let [y, blue, red] = [levels[0], levels[1], levels[2]].map(f32::from);
                let (blue, red) = (blue - 128.0, red - 128.0);
                [y + 1.402 * red, y - 0.344_136 * blue - 0.714_136 * red, y + 1.772 * blue]
                    .map(|level| (level + 0.5) as u8)
            }
        }
    }
}

/// The high bytes of the colour map.
fn palette(page: &Page<'_>) -> Vec<[u8; 3]> {
    let count = page.color_map.len() / 3;
    let level = |at: usize| (page.color_map[at] >> 8) as u8;
    (0..count).map(|index| [level(index), level(count + index), level(2 * count + index)]).collect()
}
