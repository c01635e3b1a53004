//! More rows than memory should hold, to be joined or sorted. In: rows of a fixed width, each with the bucket it belongs to, from any
//! thread. Out: the rows of one bucket at a time. What is no longer small lies in a file without a name ([`Spill`]): this is how a
//! grace hash join (Kitsuregawa, Tanaka, Moto-oka 1983) and an external sort by first digits part their input.

use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use super::spill::Spill;

/// The number of buckets: of 100 million examples each has 390,000, which take 16 MB.
pub(super) const N_BUCKETS: usize = 256;

/// Bytes of a bucket that stay in memory; 4 MB of all buckets.
const BUFFER_BYTES: usize = 16 << 10;

/// A row of a fixed width.
pub(super) trait Row: Sized {
    /// Bytes of a row.
    const BYTES: usize;

    /// Appends its bytes.
    fn put(&self, bytes: &mut Vec<u8>);

    /// The row that `bytes`, of its width, hold.
    fn get(bytes: &[u8]) -> Self;
}

/// Rows in buckets.
pub(super) struct Buckets<R> {
    spill: Spill,
    buckets: Mutex<Vec<Bucket>>,
    rows: PhantomData<fn() -> R>,
}

#[derive(Default)]
struct Bucket {
    /// Not in the file yet.
    bytes: Vec<u8>,
    /// Where parts begin in the file, and their bytes.
    parts: Vec<(u64, usize)>,
}

impl<R: Row> Buckets<R> {
    /// Empty ones.
    pub(super) fn create() -> Result<Self> {
        let buckets = (0..N_BUCKETS).map(|_| Bucket::default()).collect();
        Ok(Self { spill: Spill::create()?, buckets: Mutex::new(buckets), rows: PhantomData })
    }

    /// Adds each row to its bucket.
    pub(super) fn add(&self, rows: impl IntoIterator<Item = (usize, R)>) -> Result<()> {
        let mut buckets = self.lock();
        for (bucket, row) in rows {
            let bucket = &mut buckets[bucket];
            row.put(&mut bucket.bytes);
            if bucket.bytes.len() > BUFFER_BYTES - R::BYTES {
                bucket.parts.push((self.spill.append(&bucket.bytes)?, bucket.bytes.len()));
                bucket.bytes.clear();
            }
        }
        Ok(())
    }

    /// Takes the rows out of `bucket`; those of one call of [`Self::add`] are in its order.
    pub(super) fn take(&self, bucket: usize) -> Result<Vec<R>> {
        let Bucket { bytes, parts } = std::mem::take(&mut self.lock()[bucket]);
        let n_bytes = parts.iter().map(|(_, n)| n).sum::<usize>() + bytes.len();
        let mut rows = Vec::with_capacity(n_bytes / R::BYTES);
        let mut part = Vec::new();
        for (start, n) in parts {
            part.resize(n, 0);
            self.spill.read(start, &mut part)?;
            rows.extend(part.chunks_exact(R::BYTES).map(R::get));
        }
        rows.extend(bytes.chunks_exact(R::BYTES).map(R::get));
        Ok(rows)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Bucket>> {
        // Whoever panicked ends the opening.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bucket of an id, which is part of a SHA-256 sum: by its first bits, so that buckets in their order are ids in theirs.
pub(super) fn bucket_of_id(id: u128) -> usize {
    (id >> (u128::BITS - N_BUCKETS.ilog2())) as usize
}

/// The bucket of `row` of a table of `n_rows`: buckets in their order are rows in theirs, and what is beyond the table is in the last.
pub(super) fn bucket_of_row(row: u32, n_rows: u32) -> usize {
    let bucket = u64::from(row) * N_BUCKETS as u64 / u64::from(n_rows.max(1));
    (bucket as usize).min(N_BUCKETS - 1)
}

/// Takes the first `N` bytes off `bytes`.
pub(super) fn take_bytes<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (first, rest) = bytes.split_first_chunk().expect("a row has its width");
    *bytes = rest;
    *first
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Row for u128 {
        const BYTES: usize = 16;

        fn put(&self, bytes: &mut Vec<u8>) {
            bytes.extend(self.to_le_bytes());
        }

        fn get(mut bytes: &[u8]) -> Self {
            Self::from_le_bytes(take_bytes(&mut bytes))
        }
    }

    #[test]
    fn buckets_in_their_order_have_every_row_once() {
        // A generator of all residues modulo a power of two (Hull, Dobell 1962), spread over the first bits.
        let ids = (0..300_000_u128).scan(1_u32, |state, _| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some(u128::from(*state) << 96 | u128::from(*state))
        });
        let ids: Vec<u128> = ids.collect();
        let buckets = Buckets::create().unwrap();
        std::thread::scope(|scope| {
            for part in ids.chunks(7_000) {
                let buckets = &buckets;
                scope.spawn(move || {
                    buckets.add(part.iter().map(|&id| (bucket_of_id(id), id))).unwrap();
                });
            }
        });
        let mut sorted = Vec::new();
        for bucket in 0..N_BUCKETS {
            let mut rows = buckets.take(bucket).unwrap();
            rows.sort_unstable();
            sorted.extend(rows);
        }
        let mut expected = ids;
        expected.sort_unstable();
        assert!(sorted == expected);
    }

    #[test]
    fn rows_of_a_table_are_in_order_and_what_is_beyond_comes_last() {
        for n_rows in [1, 255, 256, 257, 1_000_003, u32::MAX] {
            let rows = [0, n_rows / 3, n_rows / 2, n_rows - 1, u32::MAX];
            let buckets = rows.map(|row| bucket_of_row(row, n_rows));
            assert!(buckets.is_sorted() && buckets[4] == N_BUCKETS - 1, "{n_rows}: {buckets:?}");
        }
        assert_eq!(bucket_of_row(u32::MAX, 0), N_BUCKETS - 1);
    }
}
