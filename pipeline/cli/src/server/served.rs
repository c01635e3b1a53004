//! What a server answers from. In: the name of a corpus, settings, bounds. Out: sessions over its newest snapshot, or one that was the
//! newest before. Never writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::timeout;
use tuwen_corpus::{Corpus, Snapshot, TableVersions};
use tuwen_etl::sql::Session;
use tuwen_settings::Settings;

/// How old a snapshot may be before it is asked whether there is a newer one.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// How long the store may take to say so, and how long one that did not is left alone: the snapshot at hand is served meanwhile.
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
    /// Locked while logs are read; who only wants to know what is served does not wait for a store.
    moving: tokio::sync::Mutex<Snapshot>,
    newest: Mutex<Newest>,
    /// The last used first.
    earlier: Mutex<VecDeque<Arc<Session>>>,
}

struct Newest {
    /// When the store is asked again.
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
        let session = Arc::new(Session::new(snapshot.clone(), settings, bounds.memory_bytes)?);
        let now = Instant::now();
        let newest = Mutex::new(Newest { due: now + FRESH_FOR, since: now, session });
        let moving = tokio::sync::Mutex::new(snapshot);
        Ok(Self { bounds, moving, newest, earlier: Mutex::default() })
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
    pub(crate) async fn session(&self) -> Result<Arc<Session>> {
        self.session_within(REFRESH_LIMIT).await
    }

    async fn session_within(&self, limit: Duration) -> Result<Arc<Session>> {
        if self.newest().due <= Instant::now() {
            let mut moving = self.moving.lock().await;
            // Another may have asked meanwhile.
            if self.newest().due <= Instant::now() {
                self.refresh(&mut moving, limit).await?;
            }
        }
        Ok(Arc::clone(&self.newest().session))
    }

    async fn refresh(&self, moving: &mut Snapshot, limit: Duration) -> Result<()> {
        let Ok(refreshed) = timeout(limit, moving.refresh()).await else {
            tracing::warn!(
                "serve: the store of the corpus did not answer for {} s; what was read before is served",
                limit.as_secs()
            );
            self.newest().due = Instant::now() + LEFT_ALONE_FOR;
            return Ok(());
        };
        refreshed?;
        let now = Instant::now();
        let before = Arc::clone(&self.newest().session);
        // A refresh that was broken off has moved some tables.
        if moving.versions() != before.snapshot().versions() {
            let session = Arc::new(before.over(moving.clone())?);
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
    pub(crate) async fn own_session(&self) -> Result<Session> {
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
    use futures::future::BoxFuture;
    use tuwen_corpus::step::{HOLD, Hold};

    #[tokio::test]
    async fn a_store_that_does_not_answer_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = folder.path().join("corpus").display().to_string();
        Corpus::open_or_create(&corpus).await.unwrap();
        let settings = Settings { corpus, ..Settings::default() };
        let bounds = Bounds { memory_bytes: 64 << 20, timeout: None, max_queries: 1 };
        let served = Served::open(&settings, bounds).await.unwrap();
        let before = served.session().await.unwrap();

        served.newest().due = Instant::now();
        let silent: Hold =
            Arc::new(|_| -> BoxFuture<'static, ()> { Box::pin(std::future::pending()) });
        let asked = HOLD.scope(silent, served.session_within(Duration::from_millis(50)));
        let known = async { served.newest_versions().0 };
        let (session, known) = futures::join!(asked, known);
        assert!(Arc::ptr_eq(&session.unwrap(), &before));
        assert_eq!(known, before.snapshot().versions());
        // It is not asked again at once.
        assert!(served.newest().due > Instant::now());
    }
}
