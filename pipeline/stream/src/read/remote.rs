//! A file behind an object store. In: the store, the file's path and its length by the Delta log. Out: byte ranges of it, by
//! range requests, near ones joined into one, or from what was asked for ahead. Keeps nothing else in memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Error, Result, ensure};
use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{BoxFuture, Shared};
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::ranges::{check_range, expect_length, joined};

/// Requests to a store at once, for a file's rows of one batch, or for windows.
pub(crate) const REQUESTS: usize = 16;

/// A file behind an object store.
pub(super) struct Remote {
    store: Arc<dyn ObjectStore>,
    handle: Handle,
    path: object_store::path::Path,
    size_bytes: u64,
    ahead: Arc<Mutex<AskedRanges>>,
}

/// What was asked for ahead, by its first byte and a number: two epochs may ask for the same.
type AskedRanges = BTreeMap<(u64, u64), Coming>;

/// Numbers spans.
static SPANS: AtomicU64 = AtomicU64::new(0);

/// Bytes that are on their way, or here.
#[derive(Clone)]
struct Coming {
    end: u64,
    bytes: Shared<oneshot::Receiver<Option<Bytes>>>,
}

/// A range of a remote file that is kept in memory, from when it was asked for until this is dropped.
pub(crate) struct Span {
    ahead: Arc<Mutex<AskedRanges>>,
    key: (u64, u64),
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Ok(mut ahead) = self.ahead.lock() {
            ahead.remove(&self.key);
        }
    }
}

impl Remote {
    /// The file at `path` of `store`, whose requests run on `handle`.
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        handle: Handle,
        path: object_store::path::Path,
        size_bytes: u64,
    ) -> Self {
        Self { store, handle, path, size_bytes, ahead: Arc::default() }
    }

    /// Its length in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

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
    pub(super) async fn answers(&self) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    /// The file is gone before it is read, so what is read came ahead.
    #[tokio::test]
    async fn what_was_asked_for_ahead_is_kept_until_its_span_is_dropped() {
        let store = Arc::new(InMemory::new());
        let path = object_store::path::Path::from("part.parquet");
        let content: Vec<u8> = (0..200).collect();
        store.put(&path, content.clone().into()).await.unwrap();
        let handle = Handle::current();
        let remote = Remote::new(Arc::<InMemory>::clone(&store), handle, path.clone(), 200);
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
}
