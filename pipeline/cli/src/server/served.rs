//! What a server answers from. In: the name of a corpus, settings, bounds. Out: sessions over its newest snapshot, or one that was the
//! newest before. Never writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tuwen_corpus::{Corpus, Snapshot, TableVersions};
use tuwen_etl::sql::Session;
use tuwen_settings::Settings;

/// How old a snapshot may be before it is asked whether there is a newer one.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// How long is waited for the store to say so, and after how long it is waited for again: the snapshot at hand is served meanwhile.
const REFRESH_LIMIT: Duration = Duration::from_secs(5);
const LEFT_ALONE_FOR: Duration = Duration::from_secs(30);

/// Snapshots that are kept open beside the newest, for clients that began with them.
const EARLIER_SNAPSHOTS: usize = 8;

/// What queries may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes that the operators of all queries hold before they spill, or fail.
    pub(crate) memory_bytes: usize,
    /// How long one may take.
    pub(crate) timeout: Option<Duration>,
    /// Queries of programs that run at once.
    pub(crate) max_queries: usize,
}

/// A corpus that is served.
pub(crate) struct Served {
    bounds: Bounds,
    /// What reads the logs, while it does. Locked while it is waited for; who only wants to know what is served does not wait for a store.
    refreshing: tokio::sync::Mutex<Option<JoinHandle<Result<()>>>>,
    newest: Mutex<Newest>,
    /// The last used first.
    earlier: Mutex<VecDeque<Arc<Session>>>,
}

struct Newest {
    /// When it is asked again whether there is a newer one.
    due: Instant,
    /// When its versions were first seen.
    since: Instant,
    session: Arc<Session>,
}

impl Served {
    /// Opens the corpus that `settings` name.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(crate) async fn open(settings: &Settings, bounds: Bounds) -> Result<Self> {
        let (_, snapshot) = Corpus::open_snapshot(&settings.corpus).await?;
        let session = Arc::new(Session::new(snapshot, settings, bounds.memory_bytes)?);
        let now = Instant::now();
        let newest = Mutex::new(Newest { due: now + FRESH_FOR, since: now, session });
        let refreshing = tokio::sync::Mutex::new(None);
        Ok(Self { bounds, refreshing, newest, earlier: Mutex::default() })
    }

    /// What queries may use.
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session over the newest snapshot that all share: its tables are opened once. Where the store does not answer, the one that was
    /// the newest before.
    ///
    /// # Errors
    /// A log cannot be read.
    pub(crate) async fn session(self: &Arc<Self>) -> Result<Arc<Session>> {
        self.session_within(REFRESH_LIMIT).await
    }

    async fn session_within(self: &Arc<Self>, limit: Duration) -> Result<Arc<Session>> {
        if self.newest().due <= Instant::now() {
            let mut refreshing = self.refreshing.lock().await;
            // Another may have asked meanwhile.
            if self.newest().due <= Instant::now() {
                self.wait_for_newest(&mut refreshing, limit).await?;
            }
        }
        Ok(Arc::clone(&self.newest().session))
    }

    /// Waits for the refresh that is under way, or a new one. Only the waiting is bounded: a refresh that takes longer serves those who come
    /// when it has ended.
    async fn wait_for_newest(
        self: &Arc<Self>,
        refreshing: &mut Option<JoinHandle<Result<()>>>,
        limit: Duration,
    ) -> Result<()> {
        // What ended while nobody waited may be long ago.
        if refreshing.as_ref().is_some_and(JoinHandle::is_finished) {
            *refreshing = None;
        }
        let under_way = refreshing.get_or_insert_with(|| {
            let served = Arc::clone(self);
            tokio::spawn(async move { served.refresh().await })
        });
        let Ok(ended) = timeout(limit, under_way).await else {
            tracing::warn!(
                "serve: reading which versions the corpus has takes more than {} s; until it ends, what was read before is served",
                limit.as_secs()
            );
            self.newest().due = Instant::now() + LEFT_ALONE_FOR;
            return Ok(());
        };
        *refreshing = None;
        ended.context("reading which versions the corpus has")?
    }

    /// Moves to the newest snapshot.
    async fn refresh(&self) -> Result<()> {
        let before = Arc::clone(&self.newest().session);
        let mut snapshot = before.snapshot().clone();
        snapshot.refresh().await?;
        let now = Instant::now();
        if snapshot.versions() != before.snapshot().versions() {
            let session = Arc::new(before.over(snapshot)?);
            *self.newest() = Newest { due: now + FRESH_FOR, since: now, session };
            self.keep(before);
        } else {
            self.newest().due = now + FRESH_FOR;
        }
        Ok(())
    }

    /// The session over the tables at `versions`, which all share that began with them.
    ///
    /// # Errors
    /// A version was never there, or can no longer be read.
    pub(crate) async fn session_at(&self, versions: &TableVersions) -> Result<Arc<Session>> {
        let newest = Arc::clone(&self.newest().session);
        // A table that came later was not there, which is as if it were empty.
        let mut versions = versions.clone();
        for name in newest.snapshot().versions().into_keys() {
            versions.entry(name).or_insert(0);
        }
        if newest.snapshot().versions() == versions {
            return Ok(newest);
        }
        let found = {
            let mut earlier = self.earlier();
            let is_it = |session: &Arc<Session>| session.snapshot().versions() == versions;
            let found = earlier.iter().position(is_it);
            found.and_then(|at| earlier.remove(at))
        };
        // Logs are read while others go on.
        let session = match found {
            Some(session) => session,
            None => Arc::new(newest.over(pinned(newest.snapshot(), &versions).await?)?),
        };
        self.keep(Arc::clone(&session));
        Ok(session)
    }

    fn earlier(&self) -> MutexGuard<'_, VecDeque<Arc<Session>>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, session: Arc<Session>) {
        let mut earlier = self.earlier();
        earlier.push_front(session);
        earlier.truncate(EARLIER_SNAPSHOTS);
    }

    /// A session over the newest snapshot for a query that somebody wrote: tables at earlier versions that it opens go with it. Its
    /// memory is that of all.
    ///
    /// # Errors
    /// A log cannot be read.
    pub(crate) async fn own_session(self: &Arc<Self>) -> Result<Session> {
        self.session().await?.apart().await
    }

    /// The newest versions that were seen, and since when.
    pub(crate) fn newest_versions(&self) -> (TableVersions, Duration) {
        let newest = self.newest();
        (newest.session.snapshot().versions(), newest.since.elapsed())
    }

    /// Bytes that the operators of all queries hold now.
    pub(crate) fn held_bytes(&self) -> usize {
        self.newest().session.held_bytes()
    }
}

/// `newest` with each table at its version; one that was not there yet as it was made, which is empty.
async fn pinned(newest: &Snapshot, versions: &TableVersions) -> Result<Snapshot> {
    let mut then = newest.clone();
    for (name, is) in newest.versions() {
        let was = versions[&name];
        ensure!((0..=is).contains(&was), "table `{name}` has no version {was}, its newest is {is}");
        if was != is {
            then.pin(&name, was.unsigned_abs()).await?;
        }
    }
    Ok(then)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_does_not_answer_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = folder.path().join("corpus").display().to_string();
        Corpus::open_or_create(&corpus).await.unwrap();
        let settings = Settings { corpus, ..Settings::default() };
        let bounds = Bounds { memory_bytes: 64 << 20, timeout: None, max_queries: 1 };
        let served = Arc::new(Served::open(&settings, bounds).await.unwrap());
        let before = served.session().await.unwrap();

        // A store that answers when it is told to.
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        let refreshed = Arc::clone(&served);
        let slow = tokio::spawn(async move {
            answered.await.unwrap();
            refreshed.refresh().await
        });
        *served.refreshing.lock().await = Some(slow);
        served.newest().due = Instant::now();
        let asked = served.session_within(Duration::from_millis(50));
        let known = async { served.newest_versions().0 };
        let (session, known) = futures::join!(asked, known);
        assert!(Arc::ptr_eq(&session.unwrap(), &before));
        assert_eq!(known, before.snapshot().versions());
        // It is not waited for again at once.
        assert!(served.newest().due > Instant::now() + FRESH_FOR);
        // What it says in the end counts.
        answer.send(()).unwrap();
        let slow = served.refreshing.lock().await.take().unwrap();
        slow.await.unwrap().unwrap();
        assert!(served.newest().due <= Instant::now() + FRESH_FOR);
    }
}
