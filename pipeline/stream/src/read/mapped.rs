//! A mapped file of this machine. In: its path and its length by the Delta log. Out: its bytes, which cost nothing: pages come
//! from the page cache. Never copies them.
//!
//! Invariant: a mapped file is as long as the Delta log says whenever it is touched; [`Mapped::check`] is called before each
//! batch, because reading a mapped page behind the end of a truncated file kills the process (SIGBUS). Between the check and
//! the last copied byte lie microseconds in which nothing but a signal handler could help: who expects files to be cut short
//! under a run reads by calls.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use memmap2::{Advice, Mmap};

use tuwen_image::copy;

use super::ranges::{check_range, expect_length};

/// A mapped file.
pub(super) struct Mapped {
    path: PathBuf,
    map: Arc<Mmap>,
    /// The file, kept open where there are few: asking it takes less than half the time of asking by its path.
    file: Option<File>,
}

/// Shares the mapping with `Bytes`, which frees it when the last slice is gone.
struct SharedMap(Arc<Mmap>);

impl AsRef<[u8]> for SharedMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Mapped {
    /// Maps the file at `path`, and with `keep` also keeps it open.
    #[expect(unsafe_code, reason = "mapping a file is unsafe by nature")]
    pub(super) fn open(path: PathBuf, size_bytes: u64, keep: bool) -> Result<Self> {
        let file = File::open(&path).context("it cannot be opened")?;
        let found = file.metadata().context("its length cannot be read")?;
        expect_length(size_bytes, found.len())?;
        // A file system that does not count names could not say that a file has lost its own.
        let keep = keep && found.nlink() > 0;
        // SAFETY: data files of a Delta table are written once and never changed, only unlinked, which leaves the mapping
        // whole. Truncation from outside, which the protocol forbids, is looked for before each batch (`check`).
        let map = unsafe { Mmap::map(&file) }.context("it cannot be mapped")?;
        Ok(Self { path, map: Arc::new(map), file: keep.then_some(file) })
    }

    /// Says whether the file is still there and as long as it was.
    pub(super) fn check(&self) -> Result<()> {
        let found = match &self.file {
            Some(file) => file.metadata().context("its length cannot be read")?,
            None => std::fs::metadata(&self.path).context("it is gone")?,
        };
        ensure!(self.file.is_none() || found.nlink() > 0, "it is gone");
        expect_length(self.map.len() as u64, found.len())
    }

    /// Its length in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// The bytes of `ranges`, in their order.
    pub(super) fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check()?;
        let whole = Bytes::from_owner(SharedMap(Arc::clone(&self.map)));
        let length = whole.len() as u64;
        ranges
            .iter()
            .map(|range| {
                check_range(range, length)?;
                Ok(whole.slice(range.start as usize..range.end as usize))
            })
            .collect()
    }

    /// All its bytes; the caller has called [`Mapped::check`].
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Brings the beginnings of `ranges` near.
    pub(super) fn prefetch(&self, ranges: &[Range<u64>]) {
        ranges.iter().for_each(|range| copy::prefetch(&self.map[range.start as usize]));
    }

    /// Tells the kernel that `ranges` will be read soon, so that several reads of a cold disk go on at once.
    pub(super) fn will_need(&self, ranges: &[Range<u64>]) {
        for range in ranges {
            let (start, length) = (range.start as usize, (range.end - range.start) as usize);
            // Advice that the kernel cannot take changes nothing but speed.
            drop(self.map.advise_range(Advice::WillNeed, start, length));
        }
    }
}
