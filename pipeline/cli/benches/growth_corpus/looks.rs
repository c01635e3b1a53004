//! How pictures look to the search for near-identical ones. In: a seed and a picture's number. Out: its thumbnail and
//! look, made up, with the coincidences that pictures of a crawl have, and a difference hash. Never a picture.

use crate::random::{Of, SplitMix};

/// A thumbnail, `[8, 8, 3]` u8.
pub(crate) type Thumb = [u8; 192];

/// `[48, 48]` u8.
pub(crate) type Grey = [u8; 2304];

/// What the pictures of a crawl are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    /// Random hashes, smooth random thumbnails. 2 % of the pictures look exactly like another, 1 % like another with one to three
    /// bits and a few levels changed; which other does not mind the splits.
    Photos,
    /// 60 % as above and 40 % smooth pictures in all colours, three in ten of them nearly white.
    Skewed,
}

/// What is known of a picture's look.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) dhash: i64,
    pub(crate) thumb: Thumb,
}

impl Look {
    /// The luma of the thumbnail, each pixel 6x6.
    pub(crate) fn grey(&self) -> Grey {
        std::array::from_fn(|i| {
            let pixel = (i / 48 / 6 * 8 + i % 48 / 6) * 3;
            let [r, g, b] = [0, 1, 2].map(|channel| u32::from(self.thumb[pixel + channel]));
            ((299 * r + 587 * g + 114 * b + 500) / 1000) as u8
        })
    }
}

impl Looks {
    /// The look of `picture`, one of `n_pictures` under `seed`.
    pub(crate) fn of(self, picture: u64, n_pictures: u64, seed: u64) -> Look {
        let mut random = SplitMix::new(seed, Of::Look, picture);
        match self {
            Self::Skewed if random.below(100) < 40 => smooth(&mut random),
            _ => photo(picture, n_pictures, seed, &mut random),
        }
    }
}

fn photo(picture: u64, n_pictures: u64, seed: u64, random: &mut SplitMix) -> Look {
    let chance = random.below(100);
    let (is_alike, is_changed) = (chance < 3, chance == 0);
    let looks_like = if is_alike { random.below(n_pictures) } else { picture };
    let mut of_look = SplitMix::new(!seed, Of::Look, looks_like);
    let mut hash = of_look.next();
    let corners = [(); 12].map(|()| of_look.below(256) as i32);
    let mut thumb = blend(&corners, 12, &mut of_look);
    if is_changed {
        flip_bits(&mut hash, 1 + random.below(3), random);
        add_noise(&mut thumb, 2, random);
    }
    Look { dhash: hash as i64, thumb }
}

/// A picture on a plain ground: few hashes, many colours.
fn smooth(random: &mut SplitMix) -> Look {
    let level = match random.below(10) {
        0..3 => 245 + random.below(11) as i32,
        3 => random.below(12) as i32,
        _ => random.below(256) as i32,
    };
    let ground = [(); 3].map(|()| level + random.near_zero(20));
    let slope = random.below(60) as i32;
    // How much brighter the corners are: top left, top right, bottom left, bottom right.
    let (mut hash, slopes) = match random.below(40) {
        0..12 => (0, [0, 0, -slope, -slope]),
        12..18 => (u64::MAX, [0, slope, 0, slope]),
        18..28 => (bright_middle(random), [0, slope, -slope, 0]),
        28..35 => (half_plain(random), [0, 0, slope, slope]),
        _ => (quarter_plain(random), [slope, 0, 0, 0]),
    };
    if random.below(10) == 0 {
        flip_bits(&mut hash, 1 + random.below(2), random);
    }
    let corners: [i32; 12] = std::array::from_fn(|i| ground[i % 3] + slopes[i / 3]);
    Look { dhash: hash as i64, thumb: blend(&corners, 1, random) }
}

fn bright_middle(random: &mut SplitMix) -> u64 {
    let mut rows = [0xf0_u8; 8];
    for _ in 0..random.below(4) {
        rows[random.below(8) as usize] = random.pick(&[0xe0, 0xf8, 0x70, 0x78]);
    }
    u64::from_be_bytes(rows)
}

fn half_plain(random: &mut SplitMix) -> u64 {
    let plain = random.pick(&[0, u64::MAX]);
    let half = random.pick(&[0xffff_ffff, 0xffff_ffff << 32]);
    (plain & half) | (random.next() & !half)
}

/// One of 64 details in one of four corners.
fn quarter_plain(random: &mut SplitMix) -> u64 {
    let detail = SplitMix::new(1, Of::Look, random.below(64)).next() & 0xffff;
    detail << (16 * random.below(4))
}

/// `[8, 8, 3]` between the colours of four corners, with noise.
fn blend(corners: &[i32; 12], noise: u64, random: &mut SplitMix) -> Thumb {
    let mut thumb = [0; 192];
    for (i, byte) in thumb.iter_mut().enumerate() {
        let [x, y, channel] = [i / 3 % 8, i / 24, i % 3].map(|value| value as i32);
        let corner = |number: i32| corners[(number * 3 + channel) as usize];
        let top = corner(0) * (7 - x) + corner(1) * x;
        let bottom = corner(2) * (7 - x) + corner(3) * x;
        let value = (top * (7 - y) + bottom * y) / 49;
        *byte = (value + random.near_zero(noise)).clamp(0, 255) as u8;
    }
    thumb
}

fn add_noise(thumb: &mut Thumb, noise: u64, random: &mut SplitMix) {
    for byte in thumb {
        *byte = (i32::from(*byte) + random.near_zero(noise)).clamp(0, 255) as u8;
    }
}

fn flip_bits(hash: &mut u64, n_bits: u64, random: &mut SplitMix) {
    for _ in 0..n_bits {
        *hash ^= 1 << random.below(64);
    }
}
