//! What a consumer opens. In: a corpus, options. Out: the batches of any epoch, from any position on. Never writes to the
//! corpus, and never looks at a later version of it.

use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};

use super::batch::{Batch, Share, StreamState};
use super::deliver::{self, Ahead, Augment, BatchBuilder, Batches, Lanes, Pool};
use super::opened::OpenedCorpus;
use super::options::{StreamOptions, Versions};
use super::order::{EpochRows, Grouping};
use tuwen_settings::ReadPath;

/// Selected examples of a corpus at pinned versions, ready to be streamed any number of times. Clones share everything.
///
/// ```no_run
/// use tuwen_stream::{Stream, StreamOptions};
///
/// # fn main() -> anyhow::Result<()> {
/// let options = StreamOptions { batch_size: 256, readers: 4, ..StreamOptions::default() };
/// let stream = Stream::open("corpus", options)?;
/// for epoch in 0..3 {
///     let mut batches = stream.epoch(epoch, 0)?;
///     while let Some(batch) = batches.next() {
///         let batch = batch?;
///         // Copy `batch.pixels` [b, s, s, 3] and `batch.input_ids` [b, t] to the device, then give the buffers back.
///         let state = stream.state(epoch, batch.next_position); // for a checkpoint: `stream.resume(&state)` goes on here
///         batches.recycle(batch);
///     }
///     println!("{}", batches.wait());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Stream {
    pub(super) corpus: Arc<OpenedCorpus>,
    pool: Pool,
}

impl Stream {
    /// Opens the corpus at `corpus`, a path or URL, and selects the examples. Blocks; may be called anywhere, also inside an
    /// async runtime. Takes about a second for a million examples.
    ///
    /// # Errors
    /// A table or version that is not there; options out of range; a predicate that is not SQL over the columns; a selected
    /// example without a decoded image; selected images of several sizes.
    pub fn open(corpus: &str, options: StreamOptions) -> Result<Self> {
        Self::open_by(corpus, options, ReadPath::Fastest)
    }

    /// As [`Stream::open`], reading pixels by the given path instead of the fastest one.
    ///
    /// # Errors
    /// As [`Stream::open`].
    pub fn open_by(corpus: &str, options: StreamOptions, read_path: ReadPath) -> Result<Self> {
        options.check()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        // In a thread of its own, because a runtime cannot be entered from within another.
        let opened = std::thread::scope(|scope| {
            let open =
                || runtime.block_on(OpenedCorpus::open(corpus, options, read_path, &runtime));
            scope.spawn(open).join()
        });
        let opened = opened.map_err(|_| anyhow!("corpus `{corpus}`: opening its stream panicked"));
        match opened.and_then(|opened| opened) {
            Ok(mut corpus) => {
                corpus.runtime = Some(runtime);
                let pool = Pool::new(lanes(&corpus.options));
                Ok(Self { corpus: Arc::new(corpus), pool })
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// The number of selected examples, those of all ranks.
    pub fn len(&self) -> usize {
        self.corpus.selection.len()
    }

    /// Whether no example is selected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of batches of this rank in an epoch. With `drop_last` it is the same for every rank; otherwise ranks may
    /// differ by one, and the last batch may be smaller.
    pub fn batches_per_epoch(&self) -> usize {
        self.corpus.n_batches(0)
    }

    /// How many of them are left of an epoch of which all ranks together have had `position` examples.
    pub fn batches_left(&self, position: u64) -> usize {
        self.corpus.n_batches(position)
    }

    /// Side of the images in pixels; 0 if no example is selected.
    pub fn size_px(&self) -> usize {
        self.corpus.selection.size_px as usize
    }

    /// Files of `images` that could not be opened, and why: examples of their images will be skipped. Always empty under
    /// [`OnBadImage::Fail`](super::OnBadImage::Fail), where opening fails.
    pub fn unreadable(&self) -> &[String] {
        &self.corpus.unreadable
    }

    /// The number of batches that exist at a time: those of the readers, and two of the consumer.
    pub fn n_buffers(&self) -> usize {
        lanes(&self.corpus.options).n_buffers()
    }

    /// Lends the readers a batch's buffers, as [`Batches::recycle`] does, but before an epoch begins.
    ///
    /// A consumer that wants pixels in memory of its own (page-locked for a device) makes [`Stream::n_buffers`] batches whose
    /// `pixels` have a capacity of `batch_size * size_px^2 * 3` bytes, registers that memory, and lends them all. As long as it
    /// holds at most two batches at a time and recycles each one it is done with, every batch of every epoch then comes in one
    /// of these buffers, filled in place and never reallocated, whose address is that of `pixels`.
    pub fn lend(&self, batch: Batch) {
        self.pool.give(batch);
    }

    /// The versions of the tables that are read.
    pub fn versions(&self) -> Versions {
        self.corpus.versions
    }

    /// What a checkpoint keeps to go on from `position` of `epoch`. A position counts examples of all ranks: a batch's
    /// `next_position`, or batches per rank * batch size * ranks.
    pub fn state(&self, epoch: u64, position: u64) -> StreamState {
        StreamState {
            versions: self.corpus.versions,
            selection: self.corpus.selection.fingerprint,
            seed: self.corpus.options.seed,
            epoch,
            position,
        }
    }

    /// The batches of this rank in `epoch`, from batch `from_batch` on; starts the readers.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn epoch(&self, epoch: u64, from_batch: usize) -> Result<Batches> {
        self.start(epoch, from_batch as u64 * self.corpus.options.global_batch(), Share::ALL)
    }

    /// The rest of the epoch in which `state` was taken, for this stream's rank, ranks, and readers, which may be others.
    ///
    /// # Errors
    /// The state is of another selection, of other versions, or of another seed.
    pub fn resume(&self, state: &StreamState) -> Result<Batches> {
        self.resume_share(state, Share::ALL)
    }

    /// As [`Stream::resume`], a share of the rest: for processes among which the batches of a rank are divided.
    ///
    /// # Errors
    /// As [`Stream::resume`].
    pub fn resume_share(&self, state: &StreamState, share: Share) -> Result<Batches> {
        self.check(state)?;
        self.start(state.epoch, state.position, share)
    }

    /// Whether `state` is one of this stream.
    ///
    /// # Errors
    /// It is of another selection, of other versions, or of another seed.
    pub fn check(&self, state: &StreamState) -> Result<()> {
        let expected = self.state(state.epoch, state.position);
        ensure!(
            *state == expected,
            "the state is of another stream: expected {expected:?}, found {state:?}\n\
             hint: open it with the versions, split, predicate, shuffle and seed that it was saved with, and if captions \
             are grouped by length, with the same batch size and ranks"
        );
        Ok(())
    }

    /// Starts the readers at a position of the global order.
    fn start(&self, epoch: u64, position: u64, share: Share) -> Result<Batches> {
        let corpus = &self.corpus;
        let options = &corpus.options;
        let order = Arc::new(corpus.order(epoch));
        let n_batches = share.count(corpus.n_batches(position));
        let augment = Augment::of(options, epoch);
        let n_readers = options.readers.min(n_batches);
        let ahead =
            (n_readers > 0).then(|| Ahead::new(corpus, &order, position, n_readers)).flatten();
        deliver::start(lanes(options), n_batches, &self.pool, |reader, clocks| {
            let ahead = ahead.as_ref().map(|ahead| ahead.reader(reader));
            let grouping = options
                .group_by_length
                .then(|| Grouping::new(options.seed, epoch, options.global_batch()));
            let rows = EpochRows::new(Arc::clone(&order), grouping);
            let corpus = Arc::clone(corpus);
            let mut builder =
                BatchBuilder::new(corpus, rows, position, augment.clone(), clocks, ahead);
            move |number, used| builder.build(share.batch(number), used)
        })
    }
}

/// How many readers, how far ahead, as `options` say.
fn lanes(options: &StreamOptions) -> Lanes {
    Lanes { readers: options.readers, prefetch: options.prefetch }
}
