//! Luma and chroma to RGB, as PIL's libavif does it: by libyuv's fixed-point arithmetic for the matrices that libyuv has, in floating
//! point for the others. In: planes. Out: RGB of 8 bits. Sources: libyuv (`row_common.cc`, `scale_common.cc`), libavif 1.4
//! (`reformat.c`, `reformat_libyuv.c`), and ITU-T H.273 for the numbers of the matrices.

use super::super::reject;
use crate::image::Rejected;

/// Where chroma is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Nowhere.
    Grey,
    /// Every second column and row (4:2:0).
    Half,
    /// Every second column (4:2:2).
    HalfWidth,
    /// Everywhere (4:4:4).
    Full,
}

/// A picture as it was coded.
pub(super) struct Planes {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) layout: Layout,
    /// Bits a sample: 8, 10 or 12.
    pub(super) bits: u32,
    /// Matrix coefficients and primaries by H.273.
    pub(super) matrix: u16,
    pub(super) primaries: u16,
    /// Whether all levels are used, and not only those of television.
    pub(super) is_full: bool,
    /// Luma `[height, width]`, then both kinds of chroma in the layout's size.
    pub(super) samples: Vec<Vec<u16>>,
}

impl Planes {
    pub(super) fn new(width: usize, height: usize, layout: Layout, bits: u32) -> Self {
        let mut planes = Self {
            width,
            height,
            layout,
            bits,
            matrix: 2,
            primaries: 2,
            is_full: true,
            samples: Vec::new(),
        };
        for plane in 0..if layout == Layout::Grey { 1 } else { 3 } {
            let (columns, rows) = planes.size(plane);
            planes.samples.push(vec![0; columns * rows]);
        }
        planes
    }

    /// Columns and rows of a plane.
    pub(super) fn size(&self, plane: usize) -> (usize, usize) {
        match (plane, self.layout) {
            (0, _) | (_, Layout::Full | Layout::Grey) => (self.width, self.height),
            (_, Layout::HalfWidth) => (self.width.div_ceil(2), self.height),
            (_, Layout::Half) => (self.width.div_ceil(2), self.height.div_ceil(2)),
        }
    }

    /// Puts `tile` at column `x` and row `y`, cut where this picture ends.
    pub(super) fn paste(&mut self, tile: &Self, x: usize, y: usize) {
        for plane in 0..self.samples.len().min(tile.samples.len()) {
            let halves_x =
                usize::from(plane > 0 && matches!(self.layout, Layout::Half | Layout::HalfWidth));
            let halves_y = usize::from(plane > 0 && self.layout == Layout::Half);
            let (x, y) = (x >> halves_x, y >> halves_y);
            let (columns, rows) = self.size(plane);
            let tile_columns = tile.size(plane).0;
            let length = tile_columns.min(columns.saturating_sub(x));
            let lines = tile.samples[plane].chunks_exact(tile_columns);
            for (line, row) in lines.zip(y..rows) {
                let start = row * columns + x;
                self.samples[plane][start..start + length].copy_from_slice(&line[..length]);
            }
        }
    }

    /// `[height, width, 3]` u8. `has_alpha`: PIL asks libavif for RGBA then, and libyuv goes about it otherwise.
    ///
    /// # Errors
    /// A matrix that libavif does not know either.
    pub(super) fn rgb(&self, has_alpha: bool) -> Result<Vec<u8>, Rejected> {
        let fixed = self.fixed_point();
        match fixed {
            // Only luma: PIL asks for grey, which libyuv has no way to.
            Some(matrix) if self.layout != Layout::Grey || has_alpha => {
                Ok(self.fixed_point_rgb(&matrix, has_alpha))
            }
            _ => self.float_rgb(),
        }
    }

    /// Takes back that `pixels` were multiplied with this picture's luma, as libyuv does; where that is 0 they are black.
    pub(super) fn divide(&self, pixels: &mut [u8]) {
        for (rgb, alpha) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(&self.samples[0]) {
            let inverse = match u32::from(alpha >> (self.bits - 8)) {
                0 => 0,
                1 => 0xffff,
                alpha => 0x10000 / alpha,
            };
            *rgb = rgb.map(|level| ((u32::from(level) * 0x101 * inverse) >> 16).min(255) as u8);
        }
    }

    /// BT.601 where the number is another name of it, or stands for nothing.
    fn known_matrix(&self) -> u16 {
        match (self.matrix, self.primaries) {
            (5 | 2, _) | (12, 5 | 6) => 6,
            (12, 1 | 2) => 1,
            (12, 9) => 9,
            (0, _) if self.layout == Layout::Grey => 6,
            (matrix, _) => matrix,
        }
    }

    fn fixed_point(&self) -> Option<FixedPoint> {
        let (y_scale, y_bias) = if self.is_full { (16320, 32) } else { (18997, -1160) };
        let [u_to_b, u_to_g, v_to_g, v_to_r] = match (self.known_matrix(), self.is_full) {
            (1, true) => [119, 12, 30, 101],
            (1, false) => [128, 14, 34, 115],
            (6, true) => [113, 22, 46, 90],
            (6, false) => [128, 25, 52, 102],
            (9, true) => [120, 11, 37, 94],
            (9, false) => [128, 12, 42, 107],
            _ => return None,
        };
        let y_scale =
            if (self.known_matrix(), self.is_full) == (9, false) { 19003 } else { y_scale };
        Some(FixedPoint { y_scale, y_bias, u_to_b, u_to_g, v_to_g, v_to_r })
    }

    fn fixed_point_rgb(&self, matrix: &FixedPoint, has_alpha: bool) -> Vec<u8> {
        let mut out = vec![0; self.width * self.height * 3];
        // With alpha libyuv takes 10 bits as they are, and 12 bits of 4:2:0 without a filter; all else is cut to 8 bits first.
        let keeps_bits = has_alpha
            && (self.bits == 10 && self.layout != Layout::Grey
                || self.bits == 12 && self.layout == Layout::Half);
        let is_nearest = keeps_bits && self.bits == 12;
        let cut = if keeps_bits { 0 } else { self.bits - 8 };
        let bits = self.bits - cut;
        let how = Upsampling { cut, is_nearest, ends_at_last: true };
        let mut chroma = [Upsampled::new(self.width), Upsampled::new(self.width)];
        for (y, line) in out.chunks_exact_mut(self.width * 3).enumerate() {
            for (plane, chroma) in chroma.iter_mut().enumerate() {
                chroma.fill(self, plane + 1, y, how);
            }
            let luma = &self.samples[0][y * self.width..(y + 1) * self.width];
            let [u, v] = &chroma;
            let samples = luma.iter().zip(&u.sixteenths).zip(&v.sixteenths);
            for (out, ((luma, u), v)) in line.as_chunks_mut::<3>().0.iter_mut().zip(samples) {
                let luma = u32::from(*luma >> cut);
                let luma = luma << (16 - bits) | luma >> (2 * bits - 16);
                let [u, v] = [*u, *v].map(|c| (i32::from((c + 8) >> 4) >> (bits - 8)) - 128);
                *out = matrix.rgb(luma, u, v);
            }
        }
        out
    }

    fn float_rgb(&self) -> Result<Vec<u8>, Rejected> {
        let unknown =
            || reject::unsupported(format!("AVIF with matrix coefficients {}", self.matrix));
        let weights = match self.known_matrix() {
            1 => Some((0.2126, 0.0722)),
            4 => Some((0.30, 0.11)),
            6 => Some((0.299, 0.114)),
            7 => Some((0.212, 0.087)),
            9 => Some((0.2627, 0.0593)),
            0 | 8 => None,
            _ => return Err(unknown()),
        };
        let is_identity = self.known_matrix() == 0;
        if is_identity && self.layout != Layout::Full || self.known_matrix() == 8 && !self.is_full {
            return Err(unknown());
        }
        let step = (1_u32 << (self.bits - 8)) as f32;
        let most = ((1_u32 << self.bits) - 1) as f32;
        let (bias, range) = if self.is_full { (0.0, most) } else { (16.0 * step, 219.0 * step) };
        let (uv_bias, uv_range) = match (is_identity, self.is_full) {
            (true, _) => (bias, range),
            (false, true) => (128.0 * step, most),
            (false, false) => (128.0 * step, 224.0 * step),
        };
        let how = Upsampling { cut: 0, is_nearest: false, ends_at_last: false };
        let mut out = vec![0; self.width * self.height * 3];
        let mut chroma = [Upsampled::new(self.width), Upsampled::new(self.width)];
        for (row, line) in out.chunks_exact_mut(self.width * 3).enumerate() {
            for (plane, chroma) in chroma.iter_mut().enumerate() {
                chroma.fill(self, plane + 1, row, how);
            }
            let luma = &self.samples[0][row * self.width..(row + 1) * self.width];
            let [u, v] = &chroma;
            let samples = luma.iter().zip(&u.sixteenths).zip(&v.sixteenths);
            for (out, ((luma, u), v)) in line.as_chunks_mut::<3>().0.iter_mut().zip(samples) {
                let y = (f32::from(*luma) - bias) / range;
                let [u, v] = [*u, *v].map(|c| (f32::from(c) / 16.0 - uv_bias) / uv_range);
                let rgb = match weights {
                    _ if self.layout == Layout::Grey => [y; 3],
                    Some((red, blue)) => {
                        let green = 1.0 - red - blue;
                        let both = red * (1.0 - red) * v + blue * (1.0 - blue) * u;
                        [
                            y + 2.0 * (1.0 - red) * v,
                            y - 2.0 * both / green,
                            y + 2.0 * (1.0 - blue) * u,
                        ]
                    }
                    None if is_identity => [v, y, u],
                    None => [y - u + v, y + u, y - u - v],
                };
                *out = rgb.map(|level| (0.5 + level.clamp(0.0, 1.0) * 255.0) as u8);
            }
        }
        Ok(out)
    }
}

/// A matrix in parts of 64, with the luma's bias and rounding.
struct FixedPoint {
    y_scale: u32,
    y_bias: i32,
    u_to_b: i32,
    u_to_g: i32,
    v_to_g: i32,
    v_to_r: i32,
}

impl FixedPoint {
    /// `luma` in 16 bits, `u` and `v` in 8 bits about 0.
    fn rgb(&self, luma: u32, u: i32, v: i32) -> [u8; 3] {
        let luma = ((luma * self.y_scale) >> 16) as i32 + self.y_bias;
        let red = luma + v * self.v_to_r;
        let green = luma - (u * self.u_to_g + v * self.v_to_g);
        let blue = luma + u * self.u_to_b;
        [red, green, blue].map(|level| (level >> 6).clamp(0, 255) as u8)
    }
}

#[derive(Clone, Copy)]
struct Upsampling {
    /// Bits that are dropped before anything else.
    cut: u32,
    /// Nothing is looked at but the nearest sample.
    is_nearest: bool,
    /// The last column looks at no neighbour, even where it shares its sample with none: libyuv does so, libavif does not.
    ends_at_last: bool,
}

/// A line of chroma for each pixel of a line of luma.
struct Upsampled {
    /// In sixteenths of a level: 9 of the nearest sample, 3 of each neighbour, 1 of the one across.
    sixteenths: Vec<u16>,
    /// In quarters: 3 of the nearer line, 1 of the other.
    quarters: Vec<u16>,
}

impl Upsampled {
    fn new(width: usize) -> Self {
        Self { sixteenths: vec![0; width], quarters: Vec::new() }
    }

    /// Without chroma the middle, which is no colour.
    fn fill(&mut self, planes: &Planes, plane: usize, row: usize, how: Upsampling) {
        let Upsampling { cut, is_nearest, ends_at_last } = how;
        let width = planes.width;
        let Some(samples) = planes.samples.get(plane) else {
            self.sixteenths.fill(16 << (planes.bits - cut - 1));
            return;
        };
        let (columns, rows) = planes.size(plane);
        let line = |row: usize| &samples[row * columns..(row + 1) * columns];
        let (near, far) = match planes.layout {
            Layout::Half if row % 2 == 1 => (row / 2, (row / 2 + 1).min(rows - 1)),
            Layout::Half => (row / 2, (row / 2).saturating_sub(1)),
            _ => (row, row),
        };
        let far = if is_nearest { near } else { far };
        if planes.layout == Layout::Full {
            for (out, sample) in self.sixteenths.iter_mut().zip(line(near)) {
                *out = (sample >> cut) * 16;
            }
            return;
        }
        self.quarters.clear();
        let both = line(near).iter().zip(line(far));
        self.quarters.extend(both.map(|(near, far)| (near >> cut) * 3 + (far >> cut)));
        for (x, out) in self.sixteenths.iter_mut().enumerate() {
            let at = x / 2;
            let far = match x % 2 {
                _ if is_nearest || ends_at_last && x + 1 == width => at,
                1 => (at + 1).min(columns - 1),
                _ => at.saturating_sub(1),
            };
            *out = self.quarters[at] * 3 + self.quarters[far];
        }
    }
}
