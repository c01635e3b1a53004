//! What a thumbnail shows at large, by which most pictures are told apart. In: a thumbnail. Out: its mean colour, how much there is to
//! see in it, and a key of 15 bytes. Never says that two pictures are nearly the same, only that they may be.

use crate::hash::{THUMB_BYTES, THUMB_SIDE, Thumb};

/// Largest difference of the mean luma of copies, and of their mean blue and red less luma, in levels of 255.
pub(crate) const LUMA_LIMIT: u8 = 24;
const CHROMA_LIMIT: i16 = 14;

/// The same where there is nothing to see but the ground: its colour is what there is.
const GROUND_LIMIT: u8 = 6;

/// Sum of squares of what else there is to see in a thumbnail, up to which that is nothing: 2 levels.
const NOTHING: f32 = 4.0 * THUMB_BYTES as f32;

/// Largest sum of differences of the keys of copies; [`KEY_UNIT`] is all there is to see.
const KEY_LIMIT: u8 = 100;
const KEY_UNIT: f32 = 80.0;

/// Levels of 255 below which what there is to see counts as this much, so that noise is not all there is.
const KEY_FLOOR: f32 = 3.0;

/// Bytes of a [`Key`].
pub(crate) const KEY_BYTES: usize = 15;

/// What a picture shows at large: low frequencies of luma (7 bytes), of blue and of red less luma (4 each), in parts of all there is
/// to see; 128 for none.
pub(crate) type Key = [u8; KEY_BYTES];

/// What is known of an image before its thumbnail is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outline {
    /// Mean luma, in levels of 255.
    pub(crate) luma: u8,
    pub(crate) key: Key,
    chroma: [i16; 2],
    pub(crate) sums: [i32; 3],
    /// Sum of squares of what rises or falls evenly, and of what else there is to see.
    pub(crate) ramp: f32,
    pub(crate) detail: f32,
}

/// Cosines of half a period, one and none over eight boxes, of mean square 1.
const COSINES: [[f32; THUMB_SIDE]; 3] = [
    [1.0; THUMB_SIDE],
    [1.38704, 1.17588, 0.785695, 0.275899, -0.275899, -0.785695, -1.17588, -1.38704],
    [1.306563, 0.541196, -0.541196, -1.306563, -1.306563, -0.541196, 0.541196, 1.306563],
];

/// Frequencies (down, across) of a key; chroma has the first four.
const FREQUENCIES: [(usize, usize); 7] = [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1)];

/// What chroma weighs in a key.
const CHROMA_WEIGHT: f32 = 0.6;

impl Outline {
    pub(crate) fn of(thumb: &Thumb) -> Self {
        let rows = thumb.as_chunks::<{ 3 * THUMB_SIDE }>().0;
        let (mut sums, mut slopes, mut squares) = ([0i32; 3], [[0i32; 3]; 2], 0i32);
        // across[y][k]: the coefficient of row y at frequency k, for red, green, blue.
        let mut across = [[[0.0f32; 3]; 3]; THUMB_SIDE];
        for (y, (row, across)) in rows.iter().zip(&mut across).enumerate() {
            for (x, pixel) in row.as_chunks::<3>().0.iter().enumerate() {
                for (channel, &value) in pixel.iter().enumerate() {
                    sums[channel] += i32::from(value);
                    slopes[0][channel] += (2 * x as i32 - 7) * i32::from(value);
                    slopes[1][channel] += (2 * y as i32 - 7) * i32::from(value);
                    squares += i32::from(value) * i32::from(value);
                    for (k, cosines) in COSINES.iter().enumerate() {
                        across[k][channel] += cosines[x] * f32::from(value);
                    }
                }
            }
        }
        let coefficient = |(down, k): (usize, usize)| {
            let mut rgb = [0.0f32; 3];
            for (cosine, row) in COSINES[down].iter().zip(&across) {
                for (sum, value) in rgb.iter_mut().zip(row[k]) {
                    *sum += cosine * value;
                }
            }
            luma_chroma(rgb.map(|sum| sum / 64.0))
        };
        let mut parts = [0.0f32; KEY_BYTES];
        for (i, &frequency) in FREQUENCIES.iter().enumerate() {
            let [luma, blue, red] = coefficient(frequency);
            parts[i] = luma;
            if i < 4 {
                parts[7 + i] = CHROMA_WEIGHT * blue;
                parts[11 + i] = CHROMA_WEIGHT * red;
            }
        }
        let norm = parts.iter().map(|part| part * part).sum::<f32>().sqrt().max(KEY_FLOOR);
        let mut key = [0; KEY_BYTES];
        for (byte, part) in key.iter_mut().zip(parts) {
            *byte = (128.0 + KEY_UNIT * part / norm).round() as u8;
        }
        let [luma, blue, red] = luma_chroma(sums.map(|sum| sum as f32 / 64.0));
        let of_means = sums.map(|sum| (sum * sum) as f32 / 64.0).iter().sum::<f32>();
        // 1344 is the sum of (2 x - 7)^2 over all pixels.
        let ramp = slopes.as_flattened().iter().map(|&slope| (slope as f32).powi(2) / 1344.0).sum();
        Self {
            luma: luma.round() as u8,
            key,
            chroma: [blue.round() as i16, red.round() as i16],
            sums,
            ramp,
            detail: squares as f32 - of_means - ramp,
        }
    }

    /// Whether the outlines are those of copies, as far as they say.
    pub(crate) fn may_be_near(&self, other: &Self) -> bool {
        let is_ground = self.detail.min(other.detail) <= NOTHING;
        let (luma_limit, chroma_limit) = match is_ground {
            true => (GROUND_LIMIT, i16::from(GROUND_LIMIT)),
            false => (LUMA_LIMIT, CHROMA_LIMIT),
        };
        self.luma.abs_diff(other.luma) <= luma_limit
            && self.chroma.iter().zip(other.chroma).all(|(a, b)| (a - b).abs() <= chroma_limit)
            && keys_are_near(key_difference(&self.key, &other.key))
    }
}

/// Luma, blue less luma, red less luma (ITU-R 601).
fn luma_chroma([red, green, blue]: [f32; 3]) -> [f32; 3] {
    let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
    [luma, blue - luma, red - luma]
}

/// Sum of differences of two keys, 255 if it is more.
fn key_difference(a: &Key, b: &Key) -> u8 {
    a.iter().zip(b).fold(0, |sum: u8, (a, b)| sum.saturating_add(a.abs_diff(*b)))
}

/// Whether keys of this difference are those of copies.
pub(crate) fn keys_are_near(difference: u8) -> bool {
    difference <= KEY_LIMIT
}
