//! What a stream hands out, and what it is resumed from. Plain data; never reads anything.

use serde::{Deserialize, Serialize};

use super::{ExampleId, Versions};

/// Some examples, ready for a device. Give it back with [`Batches::recycle`](super::Batches::recycle) when it is copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
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
}

impl Batch {
    /// The number of examples.
    pub fn len(&self) -> usize {
        self.example_ids.len()
    }

    /// Whether it holds no example; no batch of a stream does.
    pub fn is_empty(&self) -> bool {
        self.example_ids.is_empty()
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
