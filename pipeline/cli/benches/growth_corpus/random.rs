//! Random numbers. In: a seed, what they are for, and a number. Out: always the same ones, whoever asks first.

/// SplitMix64 (G. Steele, D. Lea, C. Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct SplitMix(u64);

/// What numbers are drawn for, so that two properties of a row do not depend on each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Kind,
    Split,
    SharedRow,
    Caption,
    Url,
    Answer,
    FirstAnswer,
    Decode,
    Look,
    Night,
}

impl SplitMix {
    /// The numbers of row or picture `n` for one of its properties.
    pub(crate) fn new(seed: u64, of: Of, n: u64) -> Self {
        let stream = (of as u64) << 56 | n;
        let mut mixed = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        mixed.next();
        Self(mixed.next())
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number between `-most` and `most`.
    pub(crate) fn near_zero(&mut self, most: u64) -> i32 {
        self.below(2 * most + 1) as i32 - most as i32
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
