//! Reads of one kind. In: how often a second they were done, by number of threads. Out: the best of it.

use serde::Serialize;

/// One kind of reads.
#[derive(Clone, Debug, Serialize)]
pub struct Pattern {
    /// `sequential`, `random_raw` or `random_jpeg`.
    pub name: &'static str,
    /// Bytes of one read, whole blocks.
    pub read_bytes: usize,
    /// By number of threads.
    pub rates: Vec<Rate>,
}

/// Reads a second with some threads.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rate {
    /// Threads that read.
    pub threads: usize,
    /// Reads a second, all threads together.
    pub reads_per_s: f64,
    /// The same in MB/s (10^6 bytes).
    pub mb_per_s: f64,
}

impl Pattern {
    /// The highest rate, whatever the threads.
    pub(super) fn best(&self) -> Rate {
        let most = self.rates.iter().max_by(|a, b| a.reads_per_s.total_cmp(&b.reads_per_s));
        *most.expect("a pattern is measured with one thread at least")
    }
}
