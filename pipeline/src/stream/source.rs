//! The bytes of one data file. In: a live file of a table and where it lies. Out: byte ranges of it. Never knows what they mean.
//!
//! A file on this machine is mapped: its ranges cost nothing, and pages come from the page cache; or it is read by calls. A
//! file in an object store is read by range requests, near ones joined into one.
//!
//! Invariant: a mapped file is as long as the Delta log says whenever it is touched; [`Mapped::check`] is called before each
//! batch, because reading a mapped page behind the end of a truncated file kills the process (SIGBUS). Between the check and
//! the last copied byte lie microseconds in which nothing but a signal handler could help: who expects files to be cut short
//! under a run reads by calls.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Error, Result, bail, ensure};
use bytes::Bytes;
use memmap2::{Advice, Mmap};
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::tables::LiveFile;

/// How the files of one table are reached.
pub(super) enum Place {
    /// In a folder of this machine, to be mapped.
    Mapped(PathBuf),
    /// In a folder of this machine, to be read by calls.
    Pread(PathBuf),
    /// In an object store, by requests that run on a runtime.
    Store(Arc<dyn ObjectStore>, Handle),
}

/// One data file, open.
pub(super) enum Source {
    /// A mapped file.
    Mapped(Mapped),
    /// A file read by calls.
    Pread(Pread),
    /// A file behind an object store.
    Remote(Remote),
}

/// A mapped file.
pub(super) struct Mapped {
    path: PathBuf,
    map: Arc<Mmap>,
}

/// A file read by calls. It is opened anew for each batch, so a table may have more files than a process may have open.
pub(super) struct Pread {
    path: PathBuf,
    size_bytes: u64,
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
            Place::Mapped(folder) => {
                Self::Mapped(Mapped::open(folder.join(&file.path), file.size_bytes)?)
            }
            Place::Pread(folder) => {
                Self::Pread(Pread { path: folder.join(&file.path), size_bytes: file.size_bytes })
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
            Self::Pread(pread) => pread.size_bytes,
            Self::Remote(remote) => remote.size_bytes,
        }
    }

    /// The bytes of `ranges`, in their order.
    pub(super) fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self {
            Self::Mapped(mapped) => mapped.read(ranges),
            Self::Pread(pread) => pread.read(ranges),
            Self::Remote(remote) => remote.handle.block_on(remote.read(ranges)),
        }
    }

    /// Asked after a fault: whether it may be the file's own.
    ///
    /// # Errors
    /// The store does not answer, so nothing is known of the file.
    pub(super) fn answers(&self) -> Result<()> {
        match self {
            Self::Mapped(_) | Self::Pread(_) => Ok(()),
            Self::Remote(remote) => remote.handle.block_on(remote.answers()),
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

    /// Says whether the file is still there and as long as it was.
    pub(super) fn check(&self) -> Result<()> {
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
                check_range(range, length)?;
                Ok(whole.slice(range.start as usize..range.end as usize))
            })
            .collect()
    }

    /// All its bytes; the caller has called [`Mapped::check`].
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Tells the kernel that a range will be read soon, so that several reads of a cold disk go on at once.
    pub(super) fn will_need(&self, start: usize, length: usize) {
        // Advice that the kernel cannot take changes nothing but speed.
        drop(self.map.advise_range(Advice::WillNeed, start, length));
    }
}

impl Pread {
    /// The file, open and as long as the Delta log says.
    pub(super) fn open_checked(&self) -> Result<File> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("it is gone"),
            Err(error) => return Err(Error::from(error).context("it cannot be opened")),
        };
        let found = file.metadata().context("its length cannot be read")?.len();
        expect_length(self.size_bytes, found)?;
        Ok(file)
    }

    fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut file = self.open_checked()?;
        ranges
            .iter()
            .map(|range| {
                check_range(range, self.size_bytes)?;
                let mut bytes = vec![0; (range.end - range.start) as usize];
                read_at(&mut file, range.start, &mut bytes)?;
                Ok(bytes.into())
            })
            .collect()
    }
}

/// Fills `bytes` from `start` of the file on.
pub(super) fn read_at(file: &mut File, start: u64, bytes: &mut [u8]) -> Result<()> {
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(bytes).with_context(|| format!("reading {} bytes at {start}", bytes.len()))
}

impl Remote {
    /// The bytes of `ranges`, in their order, near ranges in one request.
    pub(super) async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        ranges.iter().try_for_each(|range| check_range(range, self.size_bytes))?;
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

    /// Whether the store answers, be it that the file is gone.
    async fn answers(&self) -> Result<()> {
        match self.store.head(&self.path).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::from(error).context("the store does not answer")),
        }
    }

    /// The runtime its requests run on.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

fn check_range(range: &Range<u64>, length: u64) -> Result<()> {
    ensure!(
        range.start <= range.end && range.end <= length,
        "it has {length} bytes, and its footer points to {range:?}"
    );
    Ok(())
}

fn expect_length(expected: u64, found: u64) -> Result<()> {
    ensure!(found == expected, "expected {expected} bytes (Delta log), found {found}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between the check and the read, where a mapping would end the process.
    #[test]
    fn a_file_that_is_cut_short_under_a_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.parquet");
        std::fs::write(&path, vec![7; 9000]).unwrap();
        let pread = Pread { path: path.clone(), size_bytes: 9000 };
        let mut open = pread.open_checked().unwrap();
        let mut bytes = [0; 100];
        read_at(&mut open, 8000, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 100]);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(8050).unwrap();
        let error = read_at(&mut open, 8000, &mut bytes).unwrap_err();
        assert_eq!(error.to_string(), "reading 100 bytes at 8000");
        let error = pread.open_checked().unwrap_err().to_string();
        assert_eq!(error, "expected 9000 bytes (Delta log), found 8050");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(pread.open_checked().unwrap_err().to_string(), "it is gone");
    }
}
