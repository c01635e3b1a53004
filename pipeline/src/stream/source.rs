//! The bytes of one data file. In: a live file of a table and where it lies. Out: byte ranges of it. Never knows what they mean.
//!
//! A file on this machine is mapped: its ranges cost nothing, and pages come from the page cache. A file in an object store
//! is read by range requests, near ones joined into one.
//!
//! Invariant: a mapped file is as long as the Delta log says whenever it is touched; [`Source::check`] is called before each
//! batch, because reading a mapped page behind the end of a truncated file would kill the process.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use memmap2::{Advice, Mmap};
use object_store::ObjectStore;
use tokio::runtime::Handle;

use super::tables::LiveFile;

/// How the files of one table are reached.
pub(super) enum Place {
    /// In a folder of this machine, to be mapped.
    Folder(PathBuf),
    /// In an object store, by requests that run on a runtime.
    Store(Arc<dyn ObjectStore>, Handle),
}

/// One data file, open.
pub(super) enum Source {
    /// A mapped file.
    Mapped(Mapped),
    /// A file behind an object store.
    Remote(Remote),
}

/// A mapped file.
pub(super) struct Mapped {
    path: PathBuf,
    map: Arc<Mmap>,
}

/// A file behind an object store.
pub(super) struct Remote {
    store: Arc<dyn ObjectStore>,
    handle: Handle,
    path: object_store::path::Path,
    size_bytes: u64,
}

/// Shares the mapping with `Bytes`, which frees it when the last slice is gone.
struct SharedMap(Arc<Mmap>);

impl AsRef<[u8]> for SharedMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Source {
    /// Opens `file` at `place`.
    pub(super) fn open(place: &Place, file: &LiveFile) -> Result<Self> {
        Ok(match place {
            Place::Folder(folder) => {
                Self::Mapped(Mapped::open(folder.join(&file.path), file.size_bytes)?)
            }
            Place::Store(store, handle) => Self::Remote(Remote {
                store: Arc::clone(store),
                handle: handle.clone(),
                path: file.store_path.clone(),
                size_bytes: file.size_bytes,
            }),
        })
    }

    /// Its length in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::Mapped(mapped) => mapped.map.len() as u64,
            Self::Remote(remote) => remote.size_bytes,
        }
    }

    /// The bytes of `ranges`, in their order.
    pub(super) fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self {
            Self::Mapped(mapped) => mapped.read(ranges),
            Self::Remote(remote) => remote.handle.block_on(remote.read(ranges)),
        }
    }

    /// Says whether the file is still there and as long as it was; a remote file says so when it is read.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Mapped(mapped) => mapped.check(),
            Self::Remote(_) => Ok(()),
        }
    }
}

impl Mapped {
    #[expect(unsafe_code, reason = "mapping a file is unsafe by nature")]
    fn open(path: PathBuf, size_bytes: u64) -> Result<Self> {
        let file = File::open(&path).context("it cannot be opened")?;
        let found = file.metadata().context("its length cannot be read")?.len();
        expect_length(size_bytes, found)?;
        // SAFETY: data files of a Delta table are written once and never changed, only unlinked, which leaves the mapping
        // whole. Truncation from outside, which the protocol forbids, is looked for before each batch (`check`).
        let map = unsafe { Mmap::map(&file) }.context("it cannot be mapped")?;
        Ok(Self { path, map: Arc::new(map) })
    }

    fn check(&self) -> Result<()> {
        let found = std::fs::metadata(&self.path).context("it is gone")?.len();
        expect_length(self.map.len() as u64, found)
    }

    fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check()?;
        let whole = Bytes::from_owner(SharedMap(Arc::clone(&self.map)));
        let length = whole.len() as u64;
        ranges
            .iter()
            .map(|range| {
                ensure!(
                    range.start <= range.end && range.end <= length,
                    "it has {length} bytes, and its footer points to {range:?}"
                );
                Ok(whole.slice(range.start as usize..range.end as usize))
            })
            .collect()
    }

    /// All its bytes; the caller has called [`Source::check`].
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Tells the kernel that a range will be read soon, so that several reads of a cold disk go on at once.
    pub(super) fn will_need(&self, start: usize, length: usize) {
        // Advice that the kernel cannot take changes nothing but speed.
        drop(self.map.advise_range(Advice::WillNeed, start, length));
    }
}

impl Remote {
    /// The bytes of `ranges`, in their order, near ranges in one request.
    pub(super) async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        for range in ranges {
            if range.start > range.end || range.end > self.size_bytes {
                bail!(
                    "it has {} bytes by the Delta log, and its footer points to {range:?}",
                    self.size_bytes
                );
            }
        }
        let parts =
            self.store.get_ranges(&self.path, ranges).await.context("a range request failed")?;
        for (range, part) in ranges.iter().zip(&parts) {
            let expected = range.end - range.start;
            ensure!(
                part.len() as u64 == expected,
                "asked for {expected} bytes at {}, got {} (is it shorter than the Delta log says?)",
                range.start,
                part.len()
            );
        }
        Ok(parts)
    }

    /// The runtime its requests run on.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

fn expect_length(expected: u64, found: u64) -> Result<()> {
    ensure!(found == expected, "expected {expected} bytes (Delta log), found {found}");
    Ok(())
}
