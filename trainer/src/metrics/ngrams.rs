//! The n-grams of a caption. In: characters. Out: each distinct n-gram with its count. Never copies a character.

/// Longest n-grams that BLEU and CIDEr-D count.
pub(super) const MAX_N: usize = 4;

/// The distinct n-grams of a caption for one n, sorted, each with how often it occurs.
pub(super) struct NGrams<'a>(Vec<(&'a [char], usize)>);

impl<'a> NGrams<'a> {
    pub(super) fn new(caption: &'a [char], n: usize) -> Self {
        let mut all: Vec<_> = caption.windows(n).collect();
        all.sort_unstable();
        Self(all.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a [char], usize)> {
        self.0.iter().copied()
    }

    /// How often `ngram` occurs.
    pub(super) fn count(&self, ngram: &[char]) -> usize {
        let found = self.0.binary_search_by(|(other, _)| (*other).cmp(ngram));
        found.map_or(0, |place| self.0[place].1)
    }
}
