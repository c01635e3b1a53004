//! What all epochs of a stream share. In: a corpus, options. Out: its tables' versions, the selected examples, and the files of
//! their images, ready to be read. Never starts a reader.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;

use super::options::{Shuffle, StreamOptions, Versions};
use super::order::Order;
use super::read::{
    FILE_COLUMNS, FileAccess, ImageFiles, ImageId, LiveFile, ScannedFile, scan_files, starts,
};
use super::select::{self, ImageRows, PinnedTable, Selection};
use tuwen_settings::{OnBadImage, ReadPath};

/// A corpus at pinned versions whose examples are selected, and whose files are at hand.
pub(super) struct OpenedCorpus {
    pub(super) location: String,
    pub(super) options: StreamOptions,
    pub(super) versions: Versions,
    pub(super) selection: Selection,
    pub(super) files: ImageFiles,
    /// Files that could not be opened, and why; only under [`OnBadImage::Skip`].
    pub(super) unreadable: Vec<String>,
    /// Where the examples of each row group begin, for a window shuffle.
    groups: Arc<[u32]>,
    pub(super) pixel_bytes: usize,
    pub(super) runtime: Option<Runtime>,
}

impl Drop for OpenedCorpus {
    fn drop(&mut self) {
        // A runtime that is dropped the usual way blocks, which it may not do inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl OpenedCorpus {
    /// Opens the corpus at `location`, whose images are read by `read_path`, and selects the examples. Requests to a store run
    /// on `runtime`, which the caller puts into the corpus then.
    pub(super) async fn open(
        location: &str,
        options: StreamOptions,
        read_path: ReadPath,
        runtime: &Runtime,
    ) -> Result<Self> {
        let wanted = options.versions;
        // Images after the examples that need them: a run may commit to both meanwhile.
        let examples = wanted.map(|versions| versions.examples);
        let examples = PinnedTable::open(location, "examples", examples).await?;
        let images = wanted.map(|versions| versions.images);
        let images = PinnedTable::open(location, "images", images).await?;
        let label = images.label();
        let access = match (images.folder(), read_path) {
            (Some(folder), ReadPath::Fastest | ReadPath::General) => {
                FileAccess::Mapped(folder.to_owned())
            }
            (Some(folder), ReadPath::Pread) => FileAccess::Pread(folder.to_owned()),
            _ => FileAccess::Store(images.store(), runtime.handle().clone()),
        };
        let live = images.files(&FILE_COLUMNS)?;
        let verify = options.verify;
        let scan = {
            let (label, live) = (label.clone(), live.clone());
            runtime.spawn_blocking(move || {
                let rows = ImageRows::create()?;
                let take_ids = |file: usize, ids: &[ImageId]| rows.add(file, ids);
                let scanned = scan_files(&label, &access, &live, verify, &take_ids)?;
                Ok::<_, anyhow::Error>((scanned, rows))
            })
        };
        let found = select::find(location, &examples, &images, &options).await?;
        let versions = Versions {
            examples: examples.version(),
            images: images.version(),
            scores: found.scores,
        };
        let (scanned, rows) = scan.await.context("the scan of table `images` panicked")??;
        let n_rows = |file: &Result<ScannedFile>| file.as_ref().map_or(0, ScannedFile::n_rows);
        let starts = starts(&label, scanned.iter().map(n_rows))?;
        let (live, scanned, unreadable) = readable(live, scanned, options.on_bad_image)?;
        let missing = !unreadable.is_empty();
        let mut selection = found.join(&rows, &starts, &label, options.shuffle, missing)?;
        selection.fingerprint ^= options.order_fingerprint();
        let pixel_bytes = selection.size_px as usize * selection.size_px as usize * 3;
        let files = ImageFiles::new(label, read_path, pixel_bytes, live, scanned)?;
        let groups = match options.shuffle {
            Shuffle::Window { .. } => selection.group_starts(&files.group_starts()),
            Shuffle::Global | Shuffle::None => Vec::new(),
        };
        Ok(Self {
            location: location.to_owned(),
            options,
            versions,
            selection,
            files,
            unreadable,
            groups: groups.into(),
            pixel_bytes,
            runtime: None,
        })
    }

    /// Who stands where in `epoch`, before captions are grouped by length.
    pub(super) fn order(&self, epoch: u64) -> Order {
        let (shuffle, seed) = (self.options.shuffle, self.options.seed);
        Order::new(shuffle, seed, epoch, self.selection.len() as u64, &self.groups)
    }

    /// Why an example's image has no row.
    pub(super) fn why_missing(&self) -> String {
        let (first, rest) = self.unreadable.split_first().map_or(("", 0), |(f, r)| (f, r.len()));
        let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
        format!("its image is in none of the files that could be opened: {first}{more}")
    }

    /// The number of batches of this rank from `position` of the global order to its end.
    pub(super) fn n_batches(&self, position: u64) -> usize {
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
