//! An index of images that finds near-identical ones. In: thumbnails and looks of one side, such as the test split. Out: whether any
//! of them is near another image, as `near.rs` has it: what else is in the index changes nothing.
//!
//! Every image of about the same lightness is compared, by its key: 15 bytes, whose differences are summed up for 32 images at once
//! (0.5 ns each). Equal images stand there once. What has a near key is looked at more closely, until one is near. The key of a
//! picture on a plain ground is that of what stands on it, so that these are told apart as others are.
//!
//! Memory: about 3 kB an image.

use crate::hash::{Look, Thumb};
use crate::near::{Seen, is_near, thumbs_may_be_near};
use crate::outline::{KEY_BYTES, LUMA_LIMIT, Outline, keys_are_near};

/// Images whose keys are compared at once: two of the registers that every processor has.
const IMAGES_AT_ONCE: usize = 32;

/// Keys of as many images: the first byte of each, the second of each, …
type Keys = [[u8; IMAGES_AT_ONCE]; KEY_BYTES];

/// Distinct images by lightness.
#[derive(Debug)]
pub struct NearIndex {
    limit: f32,
    /// First image of each luma, and the number of images.
    starts: [usize; 257],
    keys: Vec<Keys>,
    /// Apart from the rest, so that they stay in a processor's cache.
    outlines: Vec<Outline>,
    images: Vec<Row>,
}

/// An image as it is compared: its thumbnail and its look.
pub type Row = (Thumb, Option<Box<Look>>);

impl NearIndex {
    /// An index of `images`, each a thumbnail and a look, of which those that differ by at most `limit` are near
    /// ([`near_difference`](crate::near_difference)).
    pub fn new(limit: f64, images: impl IntoIterator<Item = Row>) -> Self {
        let mut images: Vec<_> =
            images.into_iter().map(|image| (Outline::of(&image.0), image)).collect();
        images.sort_unstable_by(|(a, a_image), (b, b_image)| {
            a.luma.cmp(&b.luma).then_with(|| a_image.cmp(b_image))
        });
        images.dedup_by(|(_, a), (_, b)| a == b);
        Self::of_sorted(limit, images)
    }

    /// An index of images in the order of their lumas.
    pub(crate) fn of_sorted(limit: f64, images: Vec<(Outline, Row)>) -> Self {
        let (outlines, images): (Vec<Outline>, Vec<_>) = images.into_iter().unzip();
        let keys = outlines.chunks(IMAGES_AT_ONCE).map(keys_of).collect();
        let starts = std::array::from_fn(|luma| {
            outlines.partition_point(|outline| usize::from(outline.luma) < luma)
        });
        Self { limit: limit as f32, starts, keys, outlines, images }
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.images.len()
    }

    /// Calls `join` with the places before `place` whose images are near that of `place`, of those that `is_wanted` wants to know.
    pub(crate) fn each_before(
        &self,
        place: usize,
        mut is_wanted: impl FnMut(usize) -> bool,
        mut join: impl FnMut(usize),
    ) {
        let (thumb, look) = &self.images[place];
        self.any_seen(thumb, look.as_deref(), |other, a, b| {
            if other < place && is_wanted(other) && is_near(a, b, self.limit) {
                join(other);
            }
            false
        });
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Whether any image of the index is near the one of this thumbnail and look.
    pub fn any(&self, thumb: &Thumb, look: Option<&Look>) -> bool {
        self.any_seen(thumb, look, |_, a, b| is_near(a, b, self.limit))
    }

    /// Whether any image of the index may be near one of this thumbnail, whatever its look.
    pub fn any_thumb(&self, thumb: &Thumb) -> bool {
        self.any_seen(thumb, None, |_, a, b| thumbs_may_be_near(a, b))
    }

    fn any_seen(
        &self,
        thumb: &Thumb,
        look: Option<&Look>,
        mut is_near: impl FnMut(usize, Seen<'_>, Seen<'_>) -> bool,
    ) -> bool {
        let outline = Outline::of(thumb);
        let seen = Seen { outline: &outline, thumb, look };
        let first = self.starts[usize::from(outline.luma.saturating_sub(LUMA_LIMIT))];
        let end = self.starts[usize::from(outline.luma.saturating_add(LUMA_LIMIT)) + 1];
        let key = outline.key.map(|byte| [byte; IMAGES_AT_ONCE]);
        let blocks = first / IMAGES_AT_ONCE..end.div_ceil(IMAGES_AT_ONCE);
        for block in blocks {
            let differences = differences(&self.keys[block], &key);
            if !differences.iter().fold(false, |any, &difference| any | keys_are_near(difference)) {
                continue;
            }
            let first = block * IMAGES_AT_ONCE;
            let others = self.outlines[first..].iter().zip(&self.images[first..]);
            for (i, (&difference, (outline, (thumb, look)))) in
                differences.iter().zip(others).enumerate()
            {
                let other = Seen { outline, thumb, look: look.as_deref() };
                if keys_are_near(difference) && is_near(first + i, seen, other) {
                    return true;
                }
            }
        }
        false
    }
}

fn keys_of(outlines: &[Outline]) -> Keys {
    let mut keys = [[0; IMAGES_AT_ONCE]; KEY_BYTES];
    for (i, outline) in outlines.iter().enumerate() {
        for (bytes, byte) in keys.iter_mut().zip(outline.key) {
            bytes[i] = byte;
        }
    }
    keys
}

/// Sums of differences of keys, 255 where it is more.
#[inline]
fn differences(a: &Keys, b: &Keys) -> [u8; IMAGES_AT_ONCE] {
    let mut sums = [0u8; IMAGES_AT_ONCE];
    for (a, b) in a.iter().zip(b) {
        for i in 0..IMAGES_AT_ONCE {
            sums[i] = sums[i].saturating_add(a[i].abs_diff(b[i]));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near_difference;

    const LIMIT: f64 = 0.035;

    /// Pseudo-random numbers below a bound (Knuth's generator).
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    /// Pictures of blocks on a ground of few colours, many nearly equal; some have no look.
    fn rows(n: usize, grounds: &[u8], random: &mut Random) -> Vec<Row> {
        let row = |_| {
            let ground = grounds[random.below(grounds.len() as u64) as usize];
            let mut pixels = vec![ground; 48 * 48 * 3];
            for _ in 0..random.below(3) {
                let [left, top] = [4, 4].map(|least| least + 8 * random.below(4) as usize);
                let side = 6 + 4 * random.below(3) as usize;
                let channel = random.below(3) as usize;
                for y in top..top + side {
                    for x in left..left + side {
                        pixels[(y * 48 + x) * 3 + channel] = 40;
                    }
                }
            }
            for _ in 0..random.below(40) {
                pixels[random.below(48 * 48 * 3) as usize] ^= 3;
            }
            let look = Box::new(crate::look(&pixels, 48));
            (crate::thumb(&pixels, 48), (random.below(5) > 0).then_some(look))
        };
        (0..n).map(row).collect()
    }

    fn naive(row: &Row, others: &[Row]) -> [bool; 2] {
        let of = |look: bool| {
            let look_of = |row: &'_ Row| row.1.clone().filter(|_| look);
            others.iter().any(|other| {
                let (a, b) = (look_of(row), look_of(other));
                let difference = near_difference((&row.0, a.as_deref()), (&other.0, b.as_deref()));
                difference.is_some_and(|difference| !look || f64::from(difference) <= LIMIT)
            })
        };
        [of(true), of(false)]
    }

    #[test]
    fn the_index_finds_what_looking_at_each_finds() {
        let mut random = Random(7);
        let all: Vec<u8> = (0..=255).collect();
        let (mut n_near, mut n_far) = (0, 0);
        for grounds in [&all[..], &[255], &[0, 255, 250]] {
            for n in [0, 1, 31, 32, 33, 150] {
                let others = rows(n, grounds, &mut random);
                let index = NearIndex::new(LIMIT, others.clone());
                assert_eq!(index.is_empty(), n == 0);
                for row in rows(60, grounds, &mut random).iter().chain(others.iter().take(5)) {
                    let found = [index.any(&row.0, row.1.as_deref()), index.any_thumb(&row.0)];
                    assert_eq!(found, naive(row, &others));
                    if found[0] { n_near += 1 } else { n_far += 1 }
                }
            }
        }
        assert!(n_near > 100 && n_far > 100, "{n_near} near, {n_far} not");
    }

    #[test]
    fn what_else_is_in_an_index_changes_nothing() {
        let mut random = Random(11);
        let others = rows(200, &[255, 128], &mut random);
        let all = NearIndex::new(LIMIT, others.clone());
        let parts: Vec<_> =
            others.chunks(23).map(|part| NearIndex::new(LIMIT, part.to_vec())).collect();
        for (thumb, look) in rows(200, &[255, 128], &mut random) {
            let look = look.as_deref();
            assert_eq!(all.any(&thumb, look), parts.iter().any(|part| part.any(&thumb, look)));
        }
    }
}
