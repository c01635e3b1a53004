//! How a TIFF's page is laid out. In: its tags. Out: [`Page`], whose sizes fit together. Never a page whose samples would need more
//! memory than its pixels explain.

use super::super::reject::{self, ALLOC_BYTES_FIXED, ALLOC_BYTES_PER_PX};
use super::directory::Directory;
use crate::image::{RejectReason, Rejected};

/// Pixels that the tiles of a page may have together beyond four times its own: edges of a narrow page.
const CHUNKS_PX_FIXED: u64 = 32 << 20;

/// A page's tags, those that matter for its pixels.
pub(super) struct Page<'a> {
    pub(super) is_little: bool,
    /// Columns as stored, before any rotation.
    pub(super) width: usize,
    /// Rows as stored, before any rotation.
    pub(super) height: usize,
    /// Bits a sample.
    pub(super) bits: usize,
    /// Samples a pixel.
    pub(super) samples: usize,
    /// What the samples beyond the colour's mean: 1 is alpha that the colours are multiplied with.
    pub(super) extra: Vec<u64>,
    /// What the numbers are: 1 unsigned, 2 signed, 3 floating point.
    pub(super) sample_format: u64,
    pub(super) photometric: u64,
    pub(super) compression: u64,
    pub(super) predictor: u64,
    pub(super) fax_options: u64,
    pub(super) orientation: u8,
    /// Whether each channel lies by itself.
    pub(super) is_planar: bool,
    /// Whether the first pixel is a byte's lowest bit.
    pub(super) is_reversed: bool,
    pub(super) is_tiled: bool,
    /// Columns of a strip or tile.
    pub(super) chunk_width: usize,
    /// Rows of a strip or tile.
    pub(super) chunk_height: usize,
    pub(super) offsets: Vec<u64>,
    /// Empty where the file leaves them out.
    pub(super) lengths: Vec<u64>,
    /// Luma samples across and down for each of chroma.
    pub(super) subsampling: (usize, usize),
    /// Reds, then greens, then blues, each of 16 bits.
    pub(super) color_map: Vec<u64>,
    pub(super) jpeg_tables: Option<&'a [u8]>,
}

/// Reads the first page.
///
/// # Errors
/// Its tags are missing, contradict each other or mean what is not supported.
pub(super) fn page<'a>(tags: &'a Directory<'_>) -> Result<Page<'a>, Rejected> {
    let all = |tag| tags.numbers(tag).map(Option::unwrap_or_default);
    let (width, height) = (tags.number(256, 0)?, tags.number(257, 0)?);
    if width == 0 || height == 0 || width > i32::MAX as u64 || height > i32::MAX as u64 {
        return Err(reject::corrupt("a TIFF without a size"));
    }
    let compression = tags.number(259, 1)?;
    let photometric = tags.number(262, 0)?;
    let default_samples = if compression == 7 && matches!(photometric, 2 | 6) { 3 } else { 1 };
    let samples = tags.number(277, default_samples)?;
    let mut bits = all(258)?;
    bits.truncate(samples as usize);
    let bits_of_first = bits.first().copied().unwrap_or(1);
    let formats = all(339)?;
    let sample_format = formats.first().copied().unwrap_or(1);
    if bits.iter().any(|other| *other != bits_of_first)
        || formats.iter().any(|f| *f != sample_format)
    {
        return Err(reject::unsupported("TIFF whose channels differ in their bits"));
    }
    if !matches!((samples, bits_of_first), (1, 1 | 2 | 4 | 12) | (1..=16, 8 | 16 | 32 | 64))
        || samples * bits_of_first > (ALLOC_BYTES_PER_PX - 8) * 8
    {
        let detail = format!("TIFF with {samples} samples of {bits_of_first} bits");
        return Err(reject::unsupported(detail));
    }
    let is_tiled = tags.numbers(273)?.is_none() && tags.numbers(324)?.is_some();
    let (offsets, lengths) = if is_tiled { (all(324)?, all(325)?) } else { (all(273)?, all(279)?) };
    let (chunk_width, chunk_height) = if is_tiled {
        (tags.number(322, 0)?, tags.number(323, 0)?)
    } else {
        (width, tags.number(278, height)?.min(height))
    };
    if chunk_width == 0 || chunk_height == 0 || offsets.is_empty() {
        return Err(reject::corrupt("a TIFF without strips or tiles"));
    }
    let chunk_px = chunk_width.saturating_mul(chunk_height);
    let chunks_px = width
        .div_ceil(chunk_width)
        .saturating_mul(height.div_ceil(chunk_height))
        .saturating_mul(chunk_px);
    if chunks_px > width.saturating_mul(height).saturating_mul(4).saturating_add(CHUNKS_PX_FIXED) {
        return Err(reject::corrupt("tiles of many times the picture's size"));
    }
    if chunk_px > ALLOC_BYTES_FIXED / ALLOC_BYTES_PER_PX + width * height {
        return Err(Rejected::new(RejectReason::OutOfMemory, "a tile larger than the picture"));
    }
    let subsampling = match all(530)?.as_slice() {
        [across @ (1 | 2 | 4), down @ (1 | 2 | 4)] => (*across as usize, *down as usize),
        _ if compression == 1 => (1, 1),
        _ => (2, 2),
    };
    Ok(Page {
        is_little: tags.is_little(),
        width: width as usize,
        height: height as usize,
        bits: bits_of_first as usize,
        samples: samples as usize,
        extra: all(338)?,
        sample_format,
        photometric,
        compression,
        predictor: tags.number(317, 1)?,
        fax_options: tags.number(292, 0)?,
        orientation: u8::try_from(tags.number(274, 1)?)
            .ok()
            .filter(|n| (1..=8).contains(n))
            .unwrap_or(1),
        is_planar: tags.number(284, 1)? == 2 && samples > 1,
        is_reversed: tags.number(266, 1)? == 2,
        is_tiled,
        chunk_width: chunk_width as usize,
        chunk_height: chunk_height as usize,
        offsets,
        lengths,
        subsampling,
        color_map: all(320)?,
        jpeg_tables: tags.bytes(347)?,
    })
}

impl Page<'_> {
    /// Strips or tiles across and down.
    pub(super) fn chunks(&self) -> (usize, usize) {
        (self.width.div_ceil(self.chunk_width), self.height.div_ceil(self.chunk_height))
    }

    /// Bits of a pixel within a plane.
    pub(super) fn pixel_bits(&self) -> usize {
        if self.is_planar { self.bits } else { self.bits * self.samples }
    }

    /// Bytes of a line of `width` pixels within a plane.
    pub(super) fn line_bytes(&self, width: usize) -> usize {
        (width * self.pixel_bits()).div_ceil(8)
    }

    /// Whether chroma is stored for groups of pixels.
    fn is_subsampled(&self) -> bool {
        self.photometric == 6
            && self.compression != 7
            && (self.samples, self.bits, self.is_planar) == (3, 8, false)
            && self.subsampling != (1, 1)
    }

    /// Bytes of a strip or tile of `rows` lines, decompressed.
    pub(super) fn chunk_bytes(&self, rows: usize) -> usize {
        if self.is_subsampled() {
            let (across, down) = self.subsampling;
            self.chunk_width.div_ceil(across) * rows.div_ceil(down) * (across * down + 2)
        } else {
            self.line_bytes(self.chunk_width) * rows
        }
    }

    /// Three samples for each pixel, also where chroma is stored for groups of pixels.
    pub(super) fn without_subsampling(&self, data: Vec<u8>, rows: usize) -> Vec<u8> {
        if !self.is_subsampled() {
            return data;
        }
        let (across, down) = self.subsampling;
        let groups = self.chunk_width.div_ceil(across);
        let mut out = vec![0; self.chunk_width * rows * 3];
        for (index, group) in data.chunks_exact(across * down + 2).enumerate() {
            let (left, top) = (index % groups * across, index / groups * down);
            let chroma = &group[across * down..];
            for (at, luma) in group[..across * down].iter().enumerate() {
                let (x, y) = (left + at % across, top + at / across);
                if x < self.chunk_width && y < rows {
                    let start = (y * self.chunk_width + x) * 3;
                    out[start..start + 3].copy_from_slice(&[*luma, chroma[0], chroma[1]]);
                }
            }
        }
        out
    }
}
