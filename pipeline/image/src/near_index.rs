//! An index of images that finds near-identical ones. In: difference hashes and thumbnails of one
//! side, such as the test split. Out: whether any of them is near another image.
//!
//! Two images are near if their hashes share a key and differ in at most `near_bits` of 64 bits,
//! and their thumbnails differ by at most `near_levels` of 255 on average. Keys are the whole hash
//! and each of its four quarters that is not nearly all zeros or ones.
//!
//! Method: multi-index hashing (M. Norouzi, A. Punjani, D. Fleet: Fast search in Hamming space with
//! multi-index hashing, CVPR 2012) of difference hashes (N. Krawetz, 2013). If at most three bits
//! differ a quarter is equal, so only hashes with an equal quarter are compared. Thumbnails of a
//! hash are sorted by their sums, which differ by no more than they do: a window is compared.
//!
//! Time of a query: for each key, all distinct hashes with that quarter (1.1 ns each); for each
//! near hash, a binary search and the thumbnails in the window (2 to 6 ns each). At worst that is
//! all of the index. Memory: about 246 bytes an image and 1 MiB, a fifth more while it is built.

use std::ops::{ControlFlow, Range};

use crate::hash::THUMB_BYTES;

/// A thumbnail, `[8, 8, 3]` u8.
pub type Thumb = [u8; THUMB_BYTES];

/// Whether a search continues.
type Flow = ControlFlow<()>;

/// Bits of a quarter of a hash.
const QUARTER_BITS: u32 = 16;

/// Hashes compared before looking whether one was near: a loop without a branch is vectorized.
const HASHES_AT_ONCE: usize = 16;

/// Bytes of a thumbnail compared before looking whether it is too far already: two `psadbw`.
const BYTES_AT_ONCE: usize = 32;

/// Images by hash and thumbnail: a group is a distinct hash, an entry a distinct thumbnail of it.
#[derive(Debug)]
pub struct NearIndex {
    near_bits: u32,
    /// Largest sum of absolute differences of near thumbnails; -1 if no two are near.
    max_difference: i32,
    /// Groups by each quarter of their hash, the lowest first.
    tables: [QuarterTable; 4],
    /// First entry of each group, and the number of entries.
    entry_starts: Vec<u32>,
    /// Sums of the bytes of each entry's thumbnail, ascending within a group.
    sums: Vec<u16>,
    thumbs: Vec<Thumb>,
}

impl NearIndex {
    /// An index of `images`, each a hash and a thumbnail.
    ///
    /// # Panics
    /// If there are 2^32 images or more.
    pub fn new(
        near_bits: u32,
        near_levels: f64,
        images: impl IntoIterator<Item = (i64, Thumb)>,
    ) -> Self {
        let (hashes, mut thumbs): (Vec<u64>, Vec<Thumb>) =
            images.into_iter().map(|(dhash, thumb)| (dhash as u64, thumb)).unzip();
        let n_images = u32::try_from(hashes.len()).expect("fewer than 2^32 images");
        let all_sums: Vec<u16> = thumbs.iter().map(byte_sum).collect();
        let mut order: Vec<u32> = (0..n_images).collect();
        order.sort_unstable_by_key(|&image| {
            let i = image as usize;
            (hashes[i], all_sums[i], &thumbs[i])
        });
        permute(&mut thumbs, &order);

        let mut group_hashes = Vec::new();
        let mut entry_starts = Vec::new();
        let mut sums = Vec::new();
        for (i, &image) in order.iter().enumerate() {
            let hash = hashes[image as usize];
            let n_entries = sums.len();
            let new_group = group_hashes.last() != Some(&hash);
            if !new_group && thumbs[n_entries - 1] == thumbs[i] {
                continue;
            }
            if new_group {
                group_hashes.push(hash);
                entry_starts.push(n_entries as u32);
            }
            sums.push(all_sums[image as usize]);
            thumbs[n_entries] = thumbs[i];
        }
        entry_starts.push(sums.len() as u32);
        thumbs.truncate(sums.len());
        thumbs.shrink_to_fit();
        let tables = std::array::from_fn(|quarter| QuarterTable::new(quarter, &group_hashes));
        let max_difference = max_difference(near_levels);
        Self { near_bits, max_difference, tables, entry_starts, sums, thumbs }
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.thumbs.is_empty()
    }

    /// Whether any image of the index is near the one of this hash and thumbnail.
    pub fn any(&self, dhash: i64, thumb: &Thumb) -> bool {
        let sum = byte_sum(thumb);
        let found = self.each_group(dhash as u64, |group| {
            let mut entries = self.entries_with_sums_near(sum, group);
            match entries.any(|e| differs_by_at_most(self.max_difference, &self.thumbs[e], thumb)) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        found.is_break()
    }

    /// Whether any image of the index has a hash near this one.
    pub fn any_hash(&self, dhash: i64) -> bool {
        self.each_group(dhash as u64, |_| ControlFlow::Break(())).is_break()
    }

    /// Calls `visit` once with each group whose hash shares a key with `hash` and is near enough.
    fn each_group(&self, hash: u64, mut visit: impl FnMut(usize) -> Flow) -> Flow {
        let keys = (0..4).filter(|&quarter| is_key(hash, quarter));
        // Hashes that differ in n bits differ in at most n quarters: of any n + 1 one is equal.
        for (i, quarter) in keys.clone().take(self.near_bits as usize + 1).enumerate() {
            self.tables[quarter].each_near(hash, self.near_bits, |other, group| {
                let is_equal = |quarter| quarter_of(hash, quarter) == quarter_of(other, quarter);
                let visited_before = keys.clone().take(i).any(is_equal);
                if visited_before { ControlFlow::Continue(()) } else { visit(group) }
            })?;
        }
        // What shares the key of the whole hash was found above if it shares another key, too.
        let whole = keys.clone().next().is_none().then_some(hash);
        let twin = Some(twin(hash)).filter(|twin| {
            keys.clone().all(|quarter| quarter == 3) && (hash ^ twin).count_ones() <= self.near_bits
        });
        for other in whole.into_iter().chain(twin) {
            if let Some(group) = self.tables[3].find(other) {
                visit(group)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Entries of a group from this sum outwards: the first ones are the most likely to be near.
    fn entries_with_sums_near(&self, sum: u16, group: usize) -> impl Iterator<Item = usize> {
        let entries = range(&self.entry_starts, group);
        let sums = &self.sums[entries.clone()];
        let first_from =
            |least: i32| entries.start + sums.partition_point(|&sum| i32::from(sum) < least);
        let start = first_from(i32::from(sum) - self.max_difference);
        let middle = first_from(i32::from(sum));
        let end = first_from(i32::from(sum) + self.max_difference + 1);
        (middle..end).chain((start..middle).rev())
    }
}

/// Groups by one quarter of their hash, then by hash.
#[derive(Debug)]
struct QuarterTable {
    quarter: usize,
    /// First of `hashes` for each value of the quarter, and the number of hashes.
    starts: Vec<u32>,
    hashes: Vec<u64>,
    groups: Vec<u32>,
}

impl QuarterTable {
    /// A counting sort. `group_hashes` are ascending and so remain for each value.
    fn new(quarter: usize, group_hashes: &[u64]) -> Self {
        let mut starts = vec![0u32; (1 << QUARTER_BITS) + 1];
        for &hash in group_hashes {
            starts[quarter_of(hash, quarter) + 1] += 1;
        }
        for value in 1..starts.len() {
            starts[value] += starts[value - 1];
        }
        let mut next = starts.clone();
        let mut hashes = vec![0; group_hashes.len()];
        let mut groups = vec![0; group_hashes.len()];
        for (group, &hash) in group_hashes.iter().enumerate() {
            let slot = &mut next[quarter_of(hash, quarter)];
            hashes[*slot as usize] = hash;
            groups[*slot as usize] = group as u32;
            *slot += 1;
        }
        Self { quarter, starts, hashes, groups }
    }

    /// Calls `visit` with each hash near `hash` that has the same quarter, and with its group.
    fn each_near(&self, hash: u64, bits: u32, mut visit: impl FnMut(u64, usize) -> Flow) -> Flow {
        let is_near = |other: u64| (hash ^ other).count_ones() <= bits;
        let same = range(&self.starts, quarter_of(hash, self.quarter));
        let chunks = self.hashes[same.clone()].chunks(HASHES_AT_ONCE);
        for (hashes, groups) in chunks.zip(self.groups[same].chunks(HASHES_AT_ONCE)) {
            if !hashes.iter().fold(false, |any, &other| any | is_near(other)) {
                continue;
            }
            for (&other, &group) in hashes.iter().zip(groups) {
                if is_near(other) {
                    visit(other, group as usize)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn find(&self, hash: u64) -> Option<usize> {
        let same = range(&self.starts, quarter_of(hash, self.quarter));
        let i = self.hashes[same.clone()].binary_search(&hash).ok()?;
        Some(self.groups[same.start + i] as usize)
    }
}

/// Item `i` of lists that lie one after the other.
fn range(starts: &[u32], i: usize) -> Range<usize> {
    starts[i] as usize..starts[i + 1] as usize
}

fn quarter_of(hash: u64, quarter: usize) -> usize {
    usize::from((hash >> (quarter as u32 * QUARTER_BITS)) as u16)
}

/// Whether a quarter is a key. One of nearly all zeros or ones is that of an even area, which a
/// tenth of all pictures have.
fn is_key(hash: u64, quarter: usize) -> bool {
    (2..QUARTER_BITS - 1).contains(&quarter_of(hash, quarter).count_ones())
}

/// The other hash that has the same key for the whole of it, which is
/// `hash * 0x9e37_79b9_7f4a_7c15 | 1 << 62`. Its product differs in bit 62 alone; the factor is 1
/// modulo 4, so the hash is 2^62 more or less.
fn twin(hash: u64) -> u64 {
    let product = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if product >> 62 & 1 == 0 { hash.wrapping_add(1 << 62) } else { hash.wrapping_sub(1 << 62) }
}

fn byte_sum(thumb: &Thumb) -> u16 {
    const { assert!(THUMB_BYTES * 255 <= u16::MAX as usize) };
    thumb.iter().map(|&byte| u16::from(byte)).sum()
}

/// The largest sum of differences whose mean is at most `near_levels`; -1 if there is none.
fn max_difference(near_levels: f64) -> i32 {
    (0..=THUMB_BYTES as i32 * 255)
        .rev()
        .find(|&sum| f64::from(sum) / THUMB_BYTES as f64 <= near_levels)
        .unwrap_or(-1)
}

/// Whether the absolute differences sum up to at most `max_difference`. Not inlined: where it was,
/// LLVM found no `psadbw` and it took three times as long.
#[inline(never)]
fn differs_by_at_most(max_difference: i32, a: &Thumb, b: &Thumb) -> bool {
    let mut difference = 0;
    let [a, b] = [a, b].map(|thumb| thumb.as_chunks::<BYTES_AT_ONCE>().0);
    for (a, b) in a.iter().zip(b) {
        difference += a.iter().zip(b).map(|(a, b)| i32::from(a.abs_diff(*b))).sum::<i32>();
        if difference > max_difference {
            return false;
        }
    }
    true
}

/// Moves item `order[i]` to `i`, for all `i`, in place: along each cycle of the permutation.
fn permute<T>(items: &mut [T], order: &[u32]) {
    let mut is_done = vec![false; items.len()];
    for first in 0..items.len() {
        let mut i = first;
        while !is_done[i] {
            is_done[i] = true;
            let from = order[i] as usize;
            if from != first {
                items.swap(i, from);
                i = from;
            }
        }
    }
}
