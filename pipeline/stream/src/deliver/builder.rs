//! One batch. In: its number and used buffers. Out: ids, padded tokens and pixels of the examples that the order puts there.
//! Under `skip` without those that cannot be read. Never waits for anyone but the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::ahead;
use super::augment::Augment;
use super::clocks::Clocks;
use super::skip::leave_out;
use crate::batch::Batch;
use crate::opened::OpenedCorpus;
use crate::order::EpochRows;
use crate::read::{Bad, Pick, Slots};
use tuwen_settings::OnBadImage;

/// A batch copied more slowly than this did not come from memory: the disk is read, or a network. (JPEGs are always slower, and
/// advice costs little beside decoding them.)
const COLD_BYTES_PER_SEC: f64 = 1e9;

/// For how many batches the kernel is told of rows in advance once a batch was cold; then one batch is measured without.
const COLD_BATCHES: u32 = 64;

/// One reader's means of building batches.
pub(crate) struct BatchBuilder {
    corpus: Arc<OpenedCorpus>,
    rows: EpochRows,
    /// Where in the global order the batches begin.
    from: u64,
    /// What is done to the pictures, if anything.
    augment: Option<Augment>,
    /// The batch's examples, by number in the selection.
    examples: Vec<usize>,
    picks: Vec<Pick>,
    tokens: Vec<i64>,
    /// Batches for which the kernel is still told of rows in advance.
    cold: u32,
    /// Whether any batch was cold: then windows are brought ahead, for as long as that hides it.
    disk: bool,
    clocks: Arc<Clocks>,
    /// Where this reader stands among the windows that are brought ahead, if any are.
    ahead: Option<ahead::Reader>,
}

impl BatchBuilder {
    /// A builder of the batches from position `from` of `rows` on.
    pub(crate) fn new(
        corpus: Arc<OpenedCorpus>,
        rows: EpochRows,
        from: u64,
        augment: Option<Augment>,
        clocks: Arc<Clocks>,
        ahead: Option<ahead::Reader>,
    ) -> Self {
        Self {
            corpus,
            rows,
            from,
            augment,
            examples: Vec::new(),
            picks: Vec::new(),
            tokens: Vec::new(),
            cold: 0,
            disk: false,
            clocks,
            ahead,
        }
    }

    /// Builds batch `number` in the buffers of `batch`.
    pub(crate) fn build(&mut self, number: usize, mut batch: Batch) -> Result<Batch> {
        let corpus = Arc::clone(&self.corpus);
        let options = &corpus.options;
        let n = self.corpus.selection.len() as u64;
        let world = options.world as u64;
        let begin = self.from + number as u64 * options.global_batch();
        batch.next_position = (begin + options.global_batch()).min(n);
        if let Some(ahead) = self.ahead.as_ref().filter(|_| self.disk || corpus.files.remote()) {
            let begun = Instant::now();
            ahead.go_to(self.rows.reach(begin..batch.next_position, n))?;
            self.clocks.reading.add_since(begun);
        }
        batch.example_ids.clear();
        batch.lengths.clear();
        batch.skipped.clear();
        self.picks.clear();
        self.tokens.clear();
        let mut bad = Vec::new();
        let first = options.first_position(begin);
        let positions = (0..options.batch_size as u64).map(|place| first + place * world);
        let positions = positions.take_while(|position| *position < n);
        self.examples.clear();
        self.examples.extend(positions.map(|at| self.rows.row(at, &corpus.selection) as usize));
        corpus.selection.prefetch(&self.examples);
        for (&index, slot) in self.examples.iter().zip(0_u32..) {
            let tokens_before = self.tokens.len();
            batch.example_ids.push(self.corpus.selection.read(index, &mut self.tokens));
            batch.lengths.push((self.tokens.len() - tokens_before) as u32);
            match self.corpus.selection.row(index) {
                Some(row) => self.picks.push(self.corpus.files.pick(row, slot)),
                None => bad.push(Bad { slot, why: self.corpus.why_missing() }),
            }
        }
        // A used buffer keeps its length, so nothing is cleared that is written over anyway.
        batch.pixels.resize(batch.len() * self.corpus.pixel_bytes, 0);
        bad.extend(self.fill(&mut batch.pixels)?);
        if !bad.is_empty() {
            if let (OnBadImage::Fail, Some(first)) =
                (options.on_bad_image, bad.iter().min_by_key(|bad| bad.slot))
            {
                bail!("example {}: {}", batch.example_ids[first.slot as usize], first.why);
            }
            leave_out(bad, &mut batch, &mut self.tokens, self.corpus.pixel_bytes);
        }
        pad(&self.tokens, self.corpus.options.pad_id, &mut batch);
        if let Some(augment) = self.augment.as_mut().filter(|_| !batch.is_empty()) {
            let begun = Instant::now();
            let pictures = batch.pixels.chunks_exact_mut(self.corpus.pixel_bytes);
            for (&id, pixels) in batch.example_ids.iter().zip(pictures) {
                augment.apply(id, pixels)?;
            }
            self.clocks.augmenting.add_since(begun);
        }
        Ok(batch)
    }

    /// Reads the pixels, and finds out whether they came from memory; gives back what cannot be read.
    fn fill(&mut self, pixels: &mut [u8]) -> Result<Vec<Bad>> {
        let begun = Instant::now();
        let n_bytes = pixels.len() as f64;
        let mut slots = Slots::new(pixels, self.corpus.pixel_bytes);
        let bad = self.corpus.files.fill(&mut self.picks, &mut slots, self.cold > 0)?;
        let took = begun.elapsed().max(Duration::from_nanos(1));
        self.clocks.decoding.add(slots.decoding);
        self.clocks.reading.add(took.saturating_sub(slots.decoding));
        if self.cold > 0 {
            self.cold -= 1;
        } else if n_bytes < COLD_BYTES_PER_SEC * took.as_secs_f64() {
            (self.cold, self.disk) = (COLD_BATCHES, true);
        }
        Ok(bad)
    }
}

/// Lays out `tokens`, which stand one caption after the other, in rows as wide as the longest.
fn pad(tokens: &[i64], pad_id: i64, batch: &mut Batch) {
    let width = batch.lengths.iter().copied().max().unwrap_or(0) as usize;
    batch.width_tokens = width;
    batch.input_ids.clear();
    let mut rest = tokens;
    for (row, &length) in (1..).zip(&batch.lengths) {
        let (caption, after) = rest.split_at(length as usize);
        batch.input_ids.extend_from_slice(caption);
        batch.input_ids.resize(row * width, pad_id); // [b, t]
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_are_padded_to_the_longest() {
        for (captions, expected, width) in [
            (vec![], vec![], 0),
            (vec![vec![]], vec![], 0),
            (vec![vec![5], vec![6, 7, 8], vec![]], vec![5, 9, 9, 6, 7, 8, 9, 9, 9], 3),
        ] {
            let mut batch = Batch { input_ids: vec![1; 99], ..Batch::default() };
            batch.lengths =
                captions.iter().map(|caption: &Vec<i64>| caption.len() as u32).collect();
            pad(&captions.concat(), 9, &mut batch);
            assert_eq!((batch.input_ids, batch.width_tokens), (expected, width));
        }
    }
}
