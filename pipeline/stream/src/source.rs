//! The bytes of one data file. In: a live file of a table and where it lies. Out: byte ranges of it. Never knows what they mean.
//!
//! A file on this machine is mapped: its ranges cost nothing, and pages come from the page cache; or it is read by calls. A
//! file in an object store is read by range requests, near ones joined into one.
//!
//! Invariant: a mapped file is as long as the Delta log says whenever it is touched; [`Mapped::check`] is called before each
//! batch, because reading a mapped page behind the end of a truncated file kills the process (SIGBUS). Between the check and
//! the last copied byte lie microseconds in which nothing but a signal handler could help: who expects files to be cut short
//! under a run reads by calls.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Error, Result, bail, ensure};
use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{BoxFuture, Shared};
use futures::stream::{self, StreamExt, TryStreamExt};
use memmap2::{Advice, Mmap};
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::copy;
use super::tables::LiveFile;

/// Most bytes of one request for several ranges: large against a store's latency, small enough for several to come at once.
const SPAN_BYTES: u64 = 8 << 20;

/// Bytes between two wanted ranges that are fetched too rather than asked around: a store sends them in less time than it takes
/// to answer.
const GAP_BYTES: u64 = 256 << 10;

/// Requests to a store at once, for a file's rows of one batch, or for windows.
pub(super) const REQUESTS: usize = 16;

/// Mapped files of a table that are kept open: a process may mostly have 1,024 open.
const KEPT_OPEN: usize = 256;

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
    /// The file, kept open where there are few: asking it takes less than half the time of asking by its path.
    file: Option<File>,
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
    ahead: Arc<Mutex<Asked>>,
}

/// What was asked for ahead, by its first byte and a number: two epochs may ask for the same.
type Asked = BTreeMap<(u64, u64), Coming>;

/// Numbers spans.
static SPANS: AtomicU64 = AtomicU64::new(0);

/// Bytes that are on their way, or here.
#[derive(Clone)]
struct Coming {
    end: u64,
    bytes: Shared<oneshot::Receiver<Option<Bytes>>>,
}

/// A range of a remote file that is kept in memory, from when it was asked for until this is dropped.
pub(super) struct Span {
    ahead: Arc<Mutex<Asked>>,
    key: (u64, u64),
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Ok(mut ahead) = self.ahead.lock() {
            ahead.remove(&self.key);
        }
    }
}

/// Shares the mapping with `Bytes`, which frees it when the last slice is gone.
struct SharedMap(Arc<Mmap>);

impl AsRef<[u8]> for SharedMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Source {
    /// Opens `file`, the table's file number `index`, at `place`.
    pub(super) fn open(place: &Place, file: &LiveFile, index: usize) -> Result<Self> {
        Ok(match place {
            Place::Mapped(folder) => {
                let keep = index < KEPT_OPEN;
                Self::Mapped(Mapped::open(folder.join(&file.path), file.size_bytes, keep)?)
            }
            Place::Pread(folder) => {
                Self::Pread(Pread { path: folder.join(&file.path), size_bytes: file.size_bytes })
            }
            Place::Store(store, handle) => Self::Remote(Remote {
                store: Arc::clone(store),
                handle: handle.clone(),
                path: file.store_path.clone(),
                size_bytes: file.size_bytes,
                ahead: Arc::default(),
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

    /// Whether it is behind an object store.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
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
    fn open(path: PathBuf, size_bytes: u64, keep: bool) -> Result<Self> {
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

    /// Tells the kernel that `ranges` will be read soon, as [`Mapped::will_need`]. What is wrong with the file is for the read to
    /// say.
    pub(super) fn will_need(&self, ranges: &[Range<u64>]) {
        if let Ok(file) = File::open(&self.path) {
            ranges.iter().for_each(|range| will_need(&file, range));
        }
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

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library has no posix_fadvise")]
fn will_need(file: &File, range: &Range<u64>) {
    use std::os::fd::AsRawFd;
    let (start, length) = (range.start as libc::off_t, (range.end - range.start) as libc::off_t);
    // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is handed over. Advice that the file system
    // cannot take changes nothing but speed.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), start, length, libc::POSIX_FADV_WILLNEED) };
}

#[cfg(not(target_os = "linux"))]
fn will_need(_: &File, _: &Range<u64>) {}

/// Fills `bytes` from `start` of the file on.
pub(super) fn read_at(file: &mut File, start: u64, bytes: &mut [u8]) -> Result<()> {
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(bytes).with_context(|| format!("reading {} bytes at {start}", bytes.len()))
}

impl Remote {
    /// The bytes of `ranges`, in their order: of what was asked for ahead if they lie in it, otherwise by requests, near ranges
    /// in one.
    pub(super) async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        ranges.iter().try_for_each(|range| check_range(range, self.size_bytes))?;
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            parts.push(self.read_ahead(range).await);
        }
        let missing = ranges.iter().zip(&parts).filter(|(_, part)| part.is_none());
        let missing: Vec<_> = missing.map(|(range, _)| range.clone()).collect();
        if !missing.is_empty() {
            let mut found = self.request(&missing).await?.into_iter();
            parts.iter_mut().filter(|part| part.is_none()).for_each(|part| *part = found.next());
        }
        Ok(parts.into_iter().flatten().collect())
    }

    /// The bytes of `ranges`, in their order.
    async fn request(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut ascending = ranges.to_vec();
        ascending.sort_unstable_by_key(|range| (range.start, Reverse(range.end)));
        let wholes = joined(&ascending);
        let requests = wholes.iter().map(|whole| self.fetch(whole.clone()));
        let wholes_bytes: Vec<_> = stream::iter(requests).buffered(REQUESTS).try_collect().await?;
        let of_whole = |range: &Range<u64>| {
            let number = wholes.partition_point(|whole| whole.start <= range.start) - 1;
            let start = wholes[number].start;
            wholes_bytes[number].slice((range.start - start) as usize..(range.end - start) as usize)
        };
        Ok(ranges.iter().map(of_whole).collect())
    }

    /// The bytes of `range`, by one request, whose answer also says whether the file is as long as the Delta log says.
    fn fetch(&self, range: Range<u64>) -> BoxFuture<'static, Result<Bytes>> {
        let (store, path, size_bytes) =
            (Arc::clone(&self.store), self.path.clone(), self.size_bytes);
        async move {
            let wanted = GetOptions { range: Some(range.clone().into()), ..GetOptions::default() };
            let found = store.get_opts(&path, wanted).await.context("a range request failed")?;
            expect_length(size_bytes, found.meta.size)?;
            let bytes = found.bytes().await.context("a range request failed")?;
            let expected = range.end - range.start;
            ensure!(
                bytes.len() as u64 == expected,
                "asked for {expected} bytes at {}, got {}",
                range.start,
                bytes.len()
            );
            Ok(bytes)
        }
        .boxed()
    }

    /// The bytes of `range`, if they were asked for ahead and came.
    async fn read_ahead(&self, range: &Range<u64>) -> Option<Bytes> {
        let (start, coming) = {
            let ahead = self.ahead.lock().ok()?;
            let ((start, _), coming) = ahead.range(..=(range.start, u64::MAX)).next_back()?;
            (*start, coming.clone())
        };
        if range.end > coming.end {
            return None;
        }
        let bytes = coming.bytes.await.ok()??;
        Some(bytes.slice((range.start - start) as usize..(range.end - start) as usize))
    }

    /// Keeps the bytes of `range` in memory from when the second, which must be run, has fetched them until the first is
    /// dropped. Bytes that cannot be fetched are left to whoever reads them.
    pub(super) fn ask(&self, range: Range<u64>) -> (Span, BoxFuture<'static, ()>) {
        let (send, bytes) = oneshot::channel();
        let coming = Coming { end: range.end, bytes: bytes.shared() };
        let key = (range.start, SPANS.fetch_add(1, Ordering::Relaxed));
        if let Ok(mut ahead) = self.ahead.lock() {
            ahead.insert(key, coming);
        }
        let span = Span { ahead: Arc::clone(&self.ahead), key };
        let fetch = self.fetch(range);
        let fetch = async move {
            // No one may be waiting any more.
            drop(send.send(fetch.await.ok()));
        };
        (span, fetch.boxed())
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

/// `ranges`, ascending, those near each other as one of at most [`SPAN_BYTES`].
pub(super) fn joined(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.end <= last.end => {}
            Some(last)
                if range.start <= last.end + GAP_BYTES && range.end <= last.start + SPAN_BYTES =>
            {
                last.end = range.end;
            }
            _ => joined.push(range.clone()),
        }
    }
    joined
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
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn near_ranges_are_asked_for_together() {
        const GAP: u64 = GAP_BYTES;
        const SPAN: u64 = SPAN_BYTES;
        type Pairs = &'static [(u64, u64)];
        let cases: [(Pairs, Pairs); 7] = [
            (&[], &[]),
            (&[(0, 5), (5, 9)], &[(0, 9)]),
            (
                &[(0, 5), (5 + GAP, 9 + GAP), (10 + 2 * GAP, 11 + 2 * GAP)],
                &[(0, 9 + GAP), (10 + 2 * GAP, 11 + 2 * GAP)],
            ),
            (
                &[(7, SPAN), (SPAN, SPAN + 7), (SPAN + 7, SPAN + 8)],
                &[(7, SPAN + 7), (SPAN + 7, SPAN + 8)],
            ),
            (
                &[(0, 3 * SPAN), (3 * SPAN, 3 * SPAN + 1)],
                &[(0, 3 * SPAN), (3 * SPAN, 3 * SPAN + 1)],
            ),
            (&[(4, 9), (4, 9)], &[(4, 9)]),
            (&[(0, 3 * SPAN), (7, 2 * SPAN)], &[(0, 3 * SPAN)]),
        ];
        for (ranges, expected) in cases {
            let ranges: Vec<_> = ranges.iter().map(|&(start, end)| start..end).collect();
            let joined = joined(&ranges).into_iter().map(|range| (range.start, range.end));
            assert_eq!(joined.collect::<Vec<_>>(), expected);
        }
    }

    /// The file is gone before it is read, so what is read came ahead.
    #[tokio::test]
    async fn what_was_asked_for_ahead_is_kept_until_its_span_is_dropped() {
        let store = Arc::new(InMemory::new());
        let path = object_store::path::Path::from("part.parquet");
        let content: Vec<u8> = (0..200).collect();
        store.put(&path, content.clone().into()).await.unwrap();
        let file = LiveFile { path: path.to_string(), store_path: path.clone(), size_bytes: 200 };
        let place = Place::Store(Arc::<InMemory>::clone(&store), Handle::current());
        let Source::Remote(remote) = Source::open(&place, &file, 0).unwrap() else {
            unreachable!()
        };
        let (span, fetch) = remote.ask(50..150);
        let (_other, other_fetch) = remote.ask(150..160);
        tokio::join!(fetch, other_fetch);
        assert_eq!(
            remote.read(&[0..60, 55..57]).await.unwrap(),
            [&content[..60], &content[55..57]]
        );
        store.delete(&path).await.unwrap();
        let inside = [50..60, 150..160, 149..150];
        let expected =
            inside.clone().map(|range| content[range.start as usize..range.end as usize].to_vec());
        assert_eq!(remote.read(&inside).await.unwrap(), expected);
        let gone = async |range: Range<u64>| {
            let read = remote.read(std::slice::from_ref(&range)).await;
            assert_eq!(read.unwrap_err().to_string(), "a range request failed", "{range:?}");
        };
        gone(40..60).await;
        gone(140..155).await;
        drop(span);
        gone(50..60).await;
        let (_span, fetch) = remote.ask(50..60);
        fetch.await;
        gone(50..60).await;
    }

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
