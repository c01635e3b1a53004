//! What a picture looks like from afar. In: the stored square. Out: box means, 8x8 in colour and 48x48 in grey, by which
//! near-identical ones are found (`near.rs`), and a 64-bit difference hash for people.

/// Pixels of a side of a [`thumb`].
pub(crate) const THUMB_SIDE: usize = 8;

/// Bytes of a [`thumb`].
pub const THUMB_BYTES: usize = THUMB_SIDE * THUMB_SIDE * 3;

/// `[8, 8, 3]` u8 box means.
pub type Thumb = [u8; THUMB_BYTES];

/// Pixels of a side of a [`look`].
pub(crate) const LOOK_SIDE: usize = 48;

/// Bytes of a [`look`].
pub const LOOK_BYTES: usize = LOOK_SIDE * LOOK_SIDE;

/// `[48, 48]` u8 luma of box means.
pub type Look = [u8; LOOK_BYTES];

/// Difference hash (N. Krawetz, 2013): the luma of a 9x8 box-mean picture, one bit for each pixel that is brighter than its
/// left neighbour; the first pixel's bit is the highest. `pixels` is `[size, size, 3]` u8.
pub fn dhash(pixels: &[u8], size: usize) -> i64 {
    let luma = box_means::<9, 8>(pixels, size).map(|row| row.map(luma_thousandths));
    let mut hash = 0u64;
    for row in luma {
        for pair in row.windows(2) {
            hash = hash << 1 | u64::from(pair[1] > pair[0]);
        }
    }
    hash as i64
}

/// Bits in which each of `a` differs from its counterpart in `b`, as two hashes do. A loop over columns is fast in this crate.
///
/// # Panics
/// The columns are not of the same length.
pub fn hamming(a: &[i64], b: &[i64]) -> Vec<i64> {
    assert_eq!(a.len(), b.len(), "two columns of one batch");
    a.iter().zip(b).map(|(a, b)| i64::from((a ^ b).count_ones())).collect()
}

/// `[8, 8, 3]` u8 box means. `pixels` is `[size, size, 3]` u8.
pub fn thumb(pixels: &[u8], size: usize) -> Thumb {
    let means = box_means::<THUMB_SIDE, THUMB_SIDE>(pixels, size);
    let mut thumb = [0; THUMB_BYTES];
    for (out, mean) in thumb.as_chunks_mut::<3>().0.iter_mut().zip(means.as_flattened()) {
        *out = *mean;
    }
    thumb
}

/// `[48, 48]` u8 luma of box means. `pixels` is `[size, size, 3]` u8.
pub fn look(pixels: &[u8], size: usize) -> Look {
    let means = box_means::<LOOK_SIDE, LOOK_SIDE>(pixels, size);
    let mut look = [0; LOOK_BYTES];
    for (out, mean) in look.iter_mut().zip(means.as_flattened()) {
        *out = ((luma_thousandths(*mean) + 500) / 1000) as u8;
    }
    look
}

/// ITU-R 601 weights in thousandths, as PIL's convert("L").
fn luma_thousandths([r, g, b]: [u8; 3]) -> u32 {
    299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b)
}

/// Means of W x H boxes, rounded to nearest. A box is at least one pixel.
fn box_means<const W: usize, const H: usize>(pixels: &[u8], size: usize) -> [[[u8; 3]; W]; H] {
    let span =
        |i: usize, n: usize| (i * size / n, ((i + 1) * size / n).max(i * size / n + 1).min(size));
    let mut means = [[[0; 3]; W]; H];
    for (y, row) in means.iter_mut().enumerate() {
        let (top, bottom) = span(y, H);
        for (x, mean) in row.iter_mut().enumerate() {
            let (left, right) = span(x, W);
            let mut sums = [0u32; 3];
            for line in top..bottom {
                let line = &pixels[(line * size + left) * 3..(line * size + right) * 3];
                for pixel in line.as_chunks::<3>().0 {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += u32::from(*value);
                    }
                }
            }
            let count = ((bottom - top) * (right - left)) as u32;
            *mean = sums.map(|sum| ((sum + count / 2) / count) as u8);
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(size: usize, rising: bool) -> Vec<u8> {
        let value = |x: usize| (x * 255 / (size - 1)) as u8;
        (0..size * size)
            .flat_map(|i| [value(if rising { i % size } else { size - 1 - i % size }); 3])
            .collect()
    }

    #[test]
    fn a_rising_ramp_is_all_ones_and_a_falling_one_all_zeros() {
        for (rising, expected) in [(true, -1), (false, 0)] {
            assert_eq!(dhash(&ramp(224, rising), 224), expected);
        }
    }

    #[test]
    fn a_picture_of_as_many_pixels_is_its_thumb_and_look() {
        let pixels: Vec<u8> = (0..THUMB_BYTES).map(|i| i as u8).collect();
        assert_eq!(thumb(&pixels, THUMB_SIDE).as_slice(), pixels);
        let greys: Vec<u8> = (0..LOOK_BYTES).map(|i| i as u8).collect();
        let pixels: Vec<u8> = greys.iter().flat_map(|&grey| [grey; 3]).collect();
        assert_eq!(look(&pixels, LOOK_SIDE).as_slice(), greys);
        assert_eq!(look(&[10, 20, 30].repeat(224 * 224), 224), [18; LOOK_BYTES]);
    }

    #[test]
    fn a_square_smaller_than_a_look_has_one() {
        assert_eq!(look(&[7; 3], 1), [7; LOOK_BYTES]);
    }
}
