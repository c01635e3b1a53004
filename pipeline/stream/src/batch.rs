//! What a stream hands out, and what it is resumed from. Plain data; never reads anything.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::ExampleId;
use super::options::Versions;

/// An example that was left out, because its image cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Where in its batch it would have stood, from 0.
    pub place: u32,
    /// The example.
    #[serde(serialize_with = "in_hex")]
    pub example_id: ExampleId,
    /// Table, version, file, row group and row, and what was expected and found there.
    pub why: String,
}

fn in_hex<S: serde::Serializer>(id: &ExampleId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// Some examples, ready for a device. Give it back with [`Batches::recycle`](super::Batches::recycle) when it is copied.
///
/// `b` is the batch size, but in the last batch of an epoch and where examples were skipped. A batch all of whose examples were
/// skipped comes empty and in its turn, so that every rank still has its number of batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What must end before the memory of `pixels` is freed. First, since fields are dropped in order.
    pub guard: MemoryGuard,
    /// Whose examples: `[b]`.
    pub example_ids: Vec<ExampleId>,
    /// RGB, row-major, 0 to 255: `[b, size_px, size_px, 3]`.
    pub pixels: Vec<u8>,
    /// Token ids, padded with the stream's `pad_id` to the longest caption of the batch: `[b, t]`.
    pub input_ids: Vec<i64>,
    /// Tokens without padding: `[b]`.
    pub lengths: Vec<u32>,
    /// Tokens of the longest caption, t.
    pub width_tokens: usize,
    /// Where the epoch stands once every rank has had its batch of this number: examples handed out by all ranks. Goes into
    /// [`Stream::state`](super::Stream::state).
    pub next_position: u64,
    /// Examples left out of this batch, in the order in which they would have stood; always empty under
    /// [`OnBadImage::Fail`](super::OnBadImage::Fail).
    pub skipped: Vec<Skipped>,
}

/// What a consumer has done to the memory of a batch that it lends (page-locked it for a device, say), and what undoes that when
/// it is dropped. A copy of a batch has memory of its own, to which nothing was done.
#[derive(Default)]
pub struct MemoryGuard(Option<Box<dyn Send + Sync>>);

impl MemoryGuard {
    /// Dropped before the memory is freed.
    pub fn new(undo: impl Send + Sync + 'static) -> Self {
        Self(Some(Box::new(undo)))
    }
}

impl Clone for MemoryGuard {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "guarded" } else { "own" })
    }
}

/// What is in a batch does not depend on where it lies.
impl PartialEq for MemoryGuard {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for MemoryGuard {}

impl Batch {
    /// The row of the example that would stand at `place`, from 0, had none been skipped; none if it was.
    pub fn row_at(&self, place: u32) -> Option<usize> {
        let before = self.skipped.iter().filter(|skipped| skipped.place < place).count();
        let is_there = self.skipped.iter().all(|skipped| skipped.place != place);
        is_there.then(|| place as usize - before)
    }

    /// Leaves out the examples that would stand at `place` or behind it, had none been skipped.
    pub fn truncate(&mut self, place: u32) {
        let n_rows = (0..place).filter(|&before| self.row_at(before).is_some()).count();
        self.skipped.retain(|skipped| skipped.place < place);
        if n_rows >= self.len() {
            return;
        }
        let pixel_bytes = self.pixels.len() / self.len();
        self.pixels.truncate(n_rows * pixel_bytes);
        self.input_ids.truncate(n_rows * self.width_tokens);
        self.example_ids.truncate(n_rows);
        self.lengths.truncate(n_rows);
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.example_ids.len()
    }

    /// Whether it holds no example: all of them were skipped.
    pub fn is_empty(&self) -> bool {
        self.example_ids.is_empty()
    }
}

/// Batches `first`, `first + of`, `first + 2 of`, … of a rank: the share of one of `of` processes among which it is divided. Those
/// who take from them in turn get the batches of the rank in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The first of them, from 0.
    pub first: usize,
    /// Among how many the batches are divided, at least 1.
    pub of: usize,
}

impl Share {
    /// All batches.
    pub const ALL: Self = Self { first: 0, of: 1 };

    /// How many of `n_batches` it has.
    pub(crate) fn count(self, n_batches: usize) -> usize {
        n_batches.saturating_sub(self.first).div_ceil(self.of)
    }

    /// Which batch of the rank is its batch `number`.
    pub(crate) fn batch(self, number: usize) -> usize {
        self.first + number * self.of
    }
}

/// Where a stream stands: what a checkpoint keeps to go on from, id for id, with any number of ranks and readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// Versions of the tables.
    pub versions: Versions,
    /// Fingerprint of the selected ids.
    pub selection: u64,
    /// Seed of the shuffle.
    pub seed: u64,
    /// Number of the epoch, from 0.
    pub epoch: u64,
    /// Examples of the epoch's global order that all ranks together have had.
    pub position: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_every_batch_once() {
        for (of, n_batches) in [(1, 0), (1, 5), (3, 0), (3, 2), (3, 3), (3, 10), (4, 16)] {
            let shares = (0..of).map(|first| Share { first, of });
            let batches = |share: Share| (0..share.count(n_batches)).map(move |n| share.batch(n));
            let mut all: Vec<usize> = shares.flat_map(batches).collect();
            all.sort_unstable();
            assert_eq!(all, (0..n_batches).collect::<Vec<_>>(), "{of} shares");
        }
    }

    #[test]
    fn a_batch_is_cut_at_a_place() {
        // Of five places the second was skipped: rows are of places 0, 2, 3 and 4.
        let id = |n: u128| ExampleId(n);
        let skipped = Skipped { place: 1, example_id: id(1), why: String::new() };
        let batch = Batch {
            example_ids: vec![id(0), id(2), id(3), id(4)],
            pixels: (0..12).collect(),
            input_ids: (0..8).collect(),
            lengths: vec![2, 1, 2, 1],
            width_tokens: 2,
            skipped: vec![skipped.clone()],
            ..Batch::default()
        };
        for (place, n_rows, n_skipped) in
            [(0, 0, 0), (1, 1, 0), (2, 1, 1), (3, 2, 1), (5, 4, 1), (9, 4, 1)]
        {
            let mut cut = batch.clone();
            cut.truncate(place);
            assert_eq!(cut.example_ids, batch.example_ids[..n_rows], "at {place}");
            assert_eq!(cut.pixels, batch.pixels[..n_rows * 3]);
            assert_eq!(cut.input_ids, batch.input_ids[..n_rows * 2]);
            assert_eq!((cut.lengths.len(), cut.skipped.len()), (n_rows, n_skipped));
        }
    }
}
