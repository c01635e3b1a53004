//! Random bits without a state. In: numbers that say what is drawn. Out: bits that look random, the same in every run. Never
//! remembers a draw. Inlined: a position of a global order takes 24 draws.

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64 bits in which every input bit reaches every output bit.
#[inline]
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A key that differs for every (seed, epoch, part).
pub(crate) fn key(seed: u64, epoch: u64, part: u64) -> u64 {
    mix(mix(mix(seed) ^ epoch) ^ part)
}

/// Maps 64 random bits to `0..limit` (Lemire 2019).
#[inline]
pub(crate) fn below(bits: u64, limit: u64) -> u64 {
    ((u128::from(bits) * u128::from(limit)) >> 64) as u64
}
