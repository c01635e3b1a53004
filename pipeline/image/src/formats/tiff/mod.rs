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

#[cfg(test)]
mod tests {
    use super::pixels;
    use crate::image::RejectReason;

    /// A TIFF of one page: its data from byte 8 on, then its tags, of four bytes a number.
    fn tiff(data: &[u8], tags: &[(u16, &[u32])]) -> Vec<u8> {
        let start = 8 + data.len() as u32;
        let mut file = b"II*\0".to_vec();
        file.extend(start.to_le_bytes());
        file.extend(data);
        let mut behind = start + 2 + 12 * tags.len() as u32 + 4;
        let mut numbers = Vec::new();
        file.extend((tags.len() as u16).to_le_bytes());
        for (tag, values) in tags {
            file.extend(tag.to_le_bytes());
            file.extend(4_u16.to_le_bytes());
            file.extend((values.len() as u32).to_le_bytes());
            if let [value] = values {
                file.extend(value.to_le_bytes());
            } else {
                file.extend(behind.to_le_bytes());
                behind += 4 * values.len() as u32;
                numbers.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
        file.extend([0; 4]);
        file.extend(numbers);
        file
    }

    #[test]
    fn lengths_of_strips_that_are_wrong_or_missing() {
        let grey = [1, 2, 3, 4];
        let page: [(u16, &[u32]); 6] =
            [(256, &[2]), (257, &[2]), (258, &[8]), (259, &[1]), (262, &[1]), (273, &[8])];
        for lengths in [&[][..], &[0], &[3], &[4], &[u32::MAX]] {
            let mut tags = page.to_vec();
            if !lengths.is_empty() {
                tags.push((279, lengths));
            }
            let found = pixels(&tiff(&grey, &tags)).unwrap().pixels;
            assert_eq!(found, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4], "{lengths:?}");
        }
        // Two strips, packed, each of which ends where the other begins.
        let tags = [
            (256, &[2][..]),
            (257, &[2]),
            (258, &[8]),
            (259, &[32773]),
            (262, &[1]),
            (273, &[11, 8]),
            (278, &[1]),
        ];
        let found = pixels(&tiff(&[1, 3, 4, 1, 1, 2], &tags)).unwrap().pixels;
        assert_eq!(found, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
    }

    #[test]
    fn tiles_that_unpack_to_much_more_than_the_picture() {
        let offsets = vec![8; 10_000];
        let tags = [
            (256, &[1][..]),
            (257, &[10_000]),
            (258, &[8]),
            (259, &[8]),
            (262, &[1]),
            (322, &[2_000_000]),
            (323, &[1]),
            (324, &offsets),
        ];
        let rejected = pixels(&tiff(&[0; 64], &tags)).err().unwrap();
        assert_eq!(rejected.reason, RejectReason::Corrupt, "{}", rejected.detail);
        assert!(rejected.detail.contains("tiles of many times"), "{}", rejected.detail);
    }

    #[test]
    fn strips_that_lie_over_one_another() {
        let offsets = vec![8; 1000];
        let lengths = vec![60; 1000];
        let tags = [
            (256, &[1][..]),
            (257, &[1000]),
            (258, &[8]),
            (259, &[8]),
            (262, &[1]),
            (273, &offsets),
            (278, &[1]),
            (279, &lengths),
        ];
        // In a file of 8 kB each of 1,000 strips has the same 60 bytes: a writer may share them.
        let shared = pixels(&tiff(&[0; 64], &tags)).err().unwrap();
        assert!(!shared.detail.contains("over one another"), "{}", shared.detail);
        let lengths = vec![8000; 1000];
        let tags = tags.map(|(tag, values)| (tag, if tag == 279 { &lengths[..] } else { values }));
        let rejected = pixels(&tiff(&[0; 64], &tags)).err().unwrap();
        assert!(rejected.detail.contains("over one another"), "{}", rejected.detail);
    }
}
