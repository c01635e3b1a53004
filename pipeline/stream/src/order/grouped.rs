//! Captions of like length side by side, so that a batch has little padding. In: the order of an epoch and the captions'
//! lengths. Out: another order of the same rows. Never looks further than [`POOL_BATCHES`] batches, so any position is found
//! without replaying what came before.
//!
//! As transformers' `LengthGroupedSampler` does, every pool of that many batches is sorted by length; here the batches of a
//! pool are shuffled then, where there they would always go from long to short.

use std::ops::Range;
use std::sync::Arc;

use super::epoch::Order;
use super::permutation::Permutation;
use crate::random::key;
use crate::select::Selection;

/// Batches (of all ranks) that are sorted together; transformers' figure.
const POOL_BATCHES: u64 = 50;

/// Part of the keys that shuffle a pool's batches, far from those that the order itself takes.
const KEY_PART: u64 = 1 << 40;

/// The rows of an epoch by position, in the order's own order or grouped by length. Holds one pool at a time.
pub(crate) struct EpochRows {
    order: Arc<Order>,
    grouping: Option<Grouping>,
}

/// How to group, and the pool that was looked at last.
pub(crate) struct Grouping {
    seed: u64,
    epoch: u64,
    /// Examples of one batch of every rank.
    batch: u64,
    pool: Vec<u32>,
    number: u64,
}

impl Grouping {
    /// Groups of `batch` examples in `epoch`.
    pub(crate) fn new(seed: u64, epoch: u64, batch: u64) -> Self {
        Self { seed, epoch, batch, pool: Vec::new(), number: u64::MAX }
    }
}

impl EpochRows {
    /// The rows of `order`, grouped if so asked.
    pub(crate) fn new(order: Arc<Order>, grouping: Option<Grouping>) -> Self {
        Self { order, grouping }
    }

    /// The positions of the order whose rows may stand at `positions`.
    pub(crate) fn reach(&self, positions: Range<u64>, n: u64) -> Range<u64> {
        let Some(grouping) = &self.grouping else { return positions };
        let pool_size = POOL_BATCHES * grouping.batch;
        let first = positions.start / pool_size * pool_size;
        first..(positions.end.div_ceil(pool_size) * pool_size).min(n)
    }

    /// The selected row at `position`.
    pub(crate) fn row(&mut self, position: u64, selection: &Selection) -> u64 {
        let Some(grouping) = &mut self.grouping else { return self.order.row(position) };
        let pool_size = POOL_BATCHES * grouping.batch;
        let (number, place) = (position / pool_size, position % pool_size);
        if number != grouping.number {
            let first = number * pool_size;
            let last = (first + pool_size).min(selection.len() as u64);
            let rows = (first..last).map(|position| self.order.row(position) as u32);
            grouping.fill(number, rows, |row| selection.n_tokens(row as usize));
        }
        u64::from(grouping.pool[place as usize])
    }
}

impl Grouping {
    /// Sorts `rows` by length, the longest first, and shuffles the whole batches among them. Those too few for a batch are
    /// the order's own last, not the shortest: under `drop_last` they are left out.
    fn fill(&mut self, number: u64, rows: impl Iterator<Item = u32>, length: impl Fn(u32) -> u64) {
        let mut sorted: Vec<u32> = rows.collect();
        let batch = self.batch as usize;
        let whole = sorted.len() / batch;
        sorted[..whole * batch].sort_by_cached_key(|&row| std::cmp::Reverse(length(row)));
        let order = Permutation::new(whole as u64, key(self.seed, self.epoch, KEY_PART + number));
        self.pool.clear();
        for slot in 0..whole as u64 {
            let from = order.at(slot) as usize * batch;
            self.pool.extend_from_slice(&sorted[from..from + batch]);
        }
        self.pool.extend_from_slice(&sorted[whole * batch..]);
        self.number = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_its_rows_and_its_batches_are_of_like_length() {
        let length = |row: u32| u64::from(row * 7919 % 31);
        for n in [0_u32, 5, 64, 1000, 3200] {
            let mut grouping = Grouping::new(1, 2, 64);
            grouping.fill(0, 0..n, length);
            let last = n / 64 * 64..n;
            assert!(grouping.pool[last.start as usize..].iter().copied().eq(last));
            let mut rows = grouping.pool.clone();
            rows.sort_unstable();
            assert_eq!(rows, (0..n).collect::<Vec<_>>());
            let mut spans: Vec<_> = grouping
                .pool
                .chunks_exact(64)
                .map(|batch| {
                    let lengths: Vec<_> = batch.iter().map(|&row| length(row)).collect();
                    (*lengths.iter().min().unwrap(), *lengths.iter().max().unwrap())
                })
                .collect();
            let shuffled = !spans.is_sorted_by(|a, b| a.0 >= b.0);
            assert!(shuffled || spans.len() < 3, "{n} rows: the batches go from long to short");
            spans.sort_unstable();
            assert!(spans.is_sorted_by(|a, b| a.1 <= b.0), "{n} rows: {spans:?}");
        }
    }
}
