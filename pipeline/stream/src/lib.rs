//! The stream: batches for a device that must not wait. In: a corpus, and which examples in which order. Out: batches of
//! pixels and token ids, in exactly that order. Never writes to the corpus, and never looks at a later version of it.
//!
//! The modules, in the order in which an example meets them: [`tables`] pins versions and lists files, [`selection`] asks
//! for the examples and [`spill`]s them to disk, [`images`] finds their images' rows, [`order`] says who stands where
//! ([`grouped`]: by length), [`readers`] are the threads, [`builder`] makes a batch, and [`files`] puts its pixels into its
//! [`slots`]: by [`addresses`] from the mapped file, by calls or range requests ([`source`]), or decoded ([`decode`]);
//! [`ahead`] brings windows before they are needed. [`faults`] finds what cannot be read, [`clocks`] take the times, and
//! [`wait`] says who waited for whom. [`image_pixels`] reads images without their examples, [`augment`] changes pictures at
//! random, and [`references`] says what the corpus says of images.

mod addresses;
mod ahead;
mod augment;
mod batch;
mod builder;
mod clocks;
pub mod copy;
mod decode;
mod faults;
mod files;
mod grouped;
mod id;
mod image_pixels;
mod images;
mod options;
mod order;
mod readers;
mod record;
mod references;
mod selection;
mod slots;
mod source;
mod spill;
mod tables;
mod wait;

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::runtime::Runtime;

pub use self::augment::RandomResizedCrop;
pub use self::batch::{Batch, Skipped, StreamState};
pub use self::id::ExampleId;
pub use self::image_pixels::ImagePixels;
pub use self::options::{Shuffle, StreamOptions, Versions};
pub use self::readers::Batches;
pub use self::references::ImageReferences;
pub use self::wait::WaitStats;
pub use tuwen_settings::{OnBadImage, ReadPath};

pub use self::order::mix;

use self::ahead::Ahead;
use self::augment::Augment;
use self::builder::Builder;
use self::files::ImageFiles;
use self::grouped::{Grouping, Rows};
use self::images::ScannedFile;
use self::order::Order;
use self::readers::{Lanes, Pool};
use self::selection::Selection;
use self::source::Place;
use self::tables::{LiveFile, PinnedTable};

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
pub struct Stream(Arc<Inner>);

struct Inner {
    corpus: String,
    options: StreamOptions,
    versions: Versions,
    selection: Selection,
    files: ImageFiles,
    /// Files that could not be opened, and why; only under [`OnBadImage::Skip`].
    unreadable: Vec<String>,
    /// Where the examples of each row group begin, for a window shuffle.
    groups: Arc<[u32]>,
    pixel_bytes: usize,
    pool: Pool,
    runtime: Option<Runtime>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A runtime that is dropped the usual way blocks, which it may not do inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
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
            let open = || runtime.block_on(Inner::open(corpus, options, read_path, &runtime));
            scope.spawn(open).join()
        });
        let opened = opened.map_err(|_| anyhow!("corpus `{corpus}`: opening its stream panicked"));
        match opened.and_then(|opened| opened) {
            Ok(mut inner) => {
                inner.runtime = Some(runtime);
                Ok(Self(Arc::new(inner)))
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// The number of selected examples, those of all ranks.
    pub fn len(&self) -> usize {
        self.0.selection.len()
    }

    /// Whether no example is selected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of batches of this rank in an epoch. With `drop_last` it is the same for every rank; otherwise ranks may
    /// differ by one, and the last batch may be smaller.
    pub fn batches_per_epoch(&self) -> usize {
        self.0.n_batches(0)
    }

    /// Side of the images in pixels; 0 if no example is selected.
    pub fn size_px(&self) -> usize {
        self.0.selection.size_px as usize
    }

    /// Files of `images` that could not be opened, and why: examples of their images will be skipped. Always empty under
    /// [`OnBadImage::Fail`], where opening fails.
    pub fn unreadable(&self) -> &[String] {
        &self.0.unreadable
    }

    /// The number of batches that exist at a time: those of the readers, and two of the consumer.
    pub fn n_buffers(&self) -> usize {
        self.0.lanes().n_buffers()
    }

    /// Lends the readers a batch's buffers, as [`Batches::recycle`] does, but before an epoch begins.
    ///
    /// A consumer that wants pixels in memory of its own (page-locked for a device) makes [`Stream::n_buffers`] batches whose
    /// `pixels` have a capacity of `batch_size * size_px^2 * 3` bytes, registers that memory, and lends them all. As long as it
    /// holds at most two batches at a time and recycles each one it is done with, every batch of every epoch then comes in one
    /// of these buffers, filled in place and never reallocated, whose address is that of `pixels`.
    pub fn lend(&self, batch: Batch) {
        self.0.pool.give(batch);
    }

    /// The versions of the tables that are read.
    pub fn versions(&self) -> Versions {
        self.0.versions
    }

    /// What a checkpoint keeps to go on from `position` of `epoch`. A position counts examples of all ranks: a batch's
    /// `next_position`, or batches per rank * batch size * ranks.
    pub fn state(&self, epoch: u64, position: u64) -> StreamState {
        StreamState {
            versions: self.0.versions,
            selection: self.0.selection.fingerprint,
            seed: self.0.options.seed,
            epoch,
            position,
        }
    }

    /// The batches of this rank in `epoch`, from batch `from_batch` on; starts the readers.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn epoch(&self, epoch: u64, from_batch: usize) -> Result<Batches> {
        self.start(epoch, from_batch as u64 * self.0.options.global_batch())
    }

    /// The rest of the epoch in which `state` was taken, for this stream's rank, ranks, and readers, which may be others.
    ///
    /// # Errors
    /// The state is of another selection, of other versions, or of another seed.
    pub fn resume(&self, state: &StreamState) -> Result<Batches> {
        let expected = self.state(state.epoch, state.position);
        ensure!(
            *state == expected,
            "the state is of another stream: expected {expected:?}, found {state:?}\n\
             hint: open it with the versions, split, predicate, shuffle and seed that it was saved with, and if captions \
             are grouped by length, with the same batch size and ranks"
        );
        self.start(state.epoch, state.position)
    }

    /// Starts the readers at a position of the global order.
    fn start(&self, epoch: u64, position: u64) -> Result<Batches> {
        let inner = &self.0;
        let order = Arc::new(inner.order(epoch));
        let n_batches = inner.n_batches(position);
        let augment = Augment::of(&inner.options, epoch);
        let n_readers = inner.options.readers.min(n_batches);
        let ahead =
            (n_readers > 0).then(|| Ahead::new(inner, &order, position, n_readers)).flatten();
        readers::start(inner.lanes(), n_batches, &inner.pool, |reader, clocks| {
            let ahead = ahead.as_ref().map(|ahead| ahead.reader(reader));
            let options = &inner.options;
            let grouping = options
                .group_by_length
                .then(|| Grouping::new(options.seed, epoch, options.global_batch()));
            let rows = Rows::new(Arc::clone(&order), grouping);
            let mut builder =
                Builder::new(Arc::clone(inner), rows, position, augment.clone(), clocks, ahead);
            move |number, used| builder.build(number, used)
        })
    }
}

impl Inner {
    async fn open(
        corpus: &str,
        options: StreamOptions,
        read_path: ReadPath,
        runtime: &Runtime,
    ) -> Result<Self> {
        let wanted = options.versions;
        let (examples, images) = futures::try_join!(
            PinnedTable::open(corpus, "examples", wanted.map(|versions| versions.examples)),
            PinnedTable::open(corpus, "images", wanted.map(|versions| versions.images)),
        )?;
        let versions = Versions { examples: examples.version(), images: images.version() };
        let label = images.label();
        let place = match (images.folder(), read_path) {
            (Some(folder), ReadPath::Fastest | ReadPath::General) => {
                Place::Mapped(folder.to_owned())
            }
            (Some(folder), ReadPath::Pread) => Place::Pread(folder.to_owned()),
            _ => Place::Store(images.store(), runtime.handle().clone()),
        };
        let live = images.files(&images::FILE_COLUMNS)?;
        let verify = options.verify;
        let scan = {
            let (label, live) = (label.clone(), live.clone());
            runtime.spawn_blocking(move || images::scan(&label, &place, &live, verify))
        };
        let found = selection::find(&examples, &images, &options).await?;
        let scanned = scan.await.context("the scan of table `images` panicked")??;
        let (live, scanned, unreadable) = readable(live, scanned, options.on_bad_image)?;
        let missing = !unreadable.is_empty();
        let mut selection = found.join(&scanned, &label, options.shuffle, missing)?;
        selection.fingerprint ^= options.order_fingerprint();
        let pixel_bytes = selection.size_px as usize * selection.size_px as usize * 3;
        let files = ImageFiles::new(label, read_path, pixel_bytes, live, scanned)?;
        let groups = match options.shuffle {
            Shuffle::Window { .. } => selection.group_starts(&files.group_starts()),
            Shuffle::Global | Shuffle::None => Vec::new(),
        };
        let pool = Pool::new(Lanes { readers: options.readers, prefetch: options.prefetch });
        let groups = groups.into();
        let corpus = corpus.to_owned();
        let runtime = None;
        Ok(Self {
            corpus,
            options,
            versions,
            selection,
            files,
            unreadable,
            groups,
            pixel_bytes,
            pool,
            runtime,
        })
    }

    /// Who stands where in `epoch`, before captions are grouped by length.
    fn order(&self, epoch: u64) -> Order {
        let (shuffle, seed) = (self.options.shuffle, self.options.seed);
        Order::new(shuffle, seed, epoch, self.selection.len() as u64, &self.groups)
    }

    /// Why an example's image has no row.
    fn why_missing(&self) -> String {
        let (first, rest) = self.unreadable.split_first().map_or(("", 0), |(f, r)| (f, r.len()));
        let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
        format!("its image is in none of the files that could be opened: {first}{more}")
    }

    fn lanes(&self) -> Lanes {
        Lanes { readers: self.options.readers, prefetch: self.options.prefetch }
    }

    /// The number of batches of this rank from `position` of the global order to its end.
    fn n_batches(&self, position: u64) -> usize {
        let options = &self.options;
        let n = self.selection.len() as u64;
        let n_batches = if options.drop_last {
            n.saturating_sub(position) / options.global_batch()
        } else {
            let first = options.first_position(position);
            let of_rank = n.saturating_sub(first).div_ceil(options.world as u64);
            of_rank.div_ceil(options.batch_size as u64)
        };
        n_batches as usize
    }
}

/// The files that could be opened, and under [`OnBadImage::Skip`] why the others could not.
fn readable(
    live: Vec<LiveFile>,
    scanned: Vec<Result<ScannedFile>>,
    on_bad_image: OnBadImage,
) -> Result<(Vec<LiveFile>, Vec<ScannedFile>, Vec<String>)> {
    let mut files = (Vec::new(), Vec::new(), Vec::new());
    for (live, scanned) in live.into_iter().zip(scanned) {
        match (scanned, on_bad_image) {
            (Ok(scanned), _) => {
                files.0.push(live);
                files.1.push(scanned);
            }
            (Err(error), OnBadImage::Fail) => return Err(error),
            (Err(error), OnBadImage::Skip) => files.2.push(format!("{error:#}")),
        }
    }
    if let (true, Some(why)) = (files.1.is_empty(), files.2.first()) {
        bail!("none of its {} files can be opened (is a disk missing?): {why}", files.2.len());
    }
    Ok(files)
}
