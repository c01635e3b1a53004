//! What a server answers from. In: the name of a corpus, settings, bounds. Out: sessions over its newest snapshot, or one that was the
//! newest before. Never writes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::sync::Mutex;
use tuwen_corpus::{Corpus, Snapshot, TableVersions};
use tuwen_etl::sql::Session;
use tuwen_settings::Settings;

/// How old a snapshot may be before it is asked whether there is a newer one.
const FRESH_FOR: Duration = Duration::from_secs(1);

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
    newest: Mutex<Newest>,
    /// The last used first.
    earlier: Mutex<VecDeque<Arc<Session>>>,
}

struct Newest {
    asked: Instant,
    /// When its versions were first seen.
    since: Instant,
    snapshot: Snapshot,
    session: Arc<Session>,
}

impl Served {
    /// Opens the corpus that `settings` name.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(crate) async fn open(settings: &Settings, bounds: Bounds) -> Result<Self> {
        let (_, snapshot) = Corpus::open_snapshot(&settings.corpus).await?;
        let session = Session::new(snapshot.clone(), settings, bounds.memory_bytes)?;
        let (now, session) = (Instant::now(), Arc::new(session));
        let newest = Newest { asked: now, since: now, snapshot, session };
        Ok(Self { bounds, newest: Mutex::new(newest), earlier: Mutex::default() })
    }

    /// What queries may use.
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The session over the newest snapshot that all share: its tables are opened once.
    ///
    /// # Errors
    /// A log cannot be read.
    pub(crate) async fn session(&self) -> Result<Arc<Session>> {
        let mut newest = self.newest.lock().await;
        if newest.asked.elapsed() > FRESH_FOR {
            newest.snapshot.refresh().await?;
            newest.asked = Instant::now();
            // A refresh that was broken off has moved some tables.
            if newest.snapshot.versions() != newest.session.snapshot().versions() {
                let session = Arc::new(newest.session.over(newest.snapshot.clone())?);
                let earlier = std::mem::replace(&mut newest.session, session);
                newest.since = newest.asked;
                self.keep(earlier).await;
            }
        }
        Ok(Arc::clone(&newest.session))
    }

    /// The session over the tables at `versions`, which all share that began with them.
    ///
    /// # Errors
    /// A version was never there, or can no longer be read.
    pub(crate) async fn session_at(&self, versions: &TableVersions) -> Result<Arc<Session>> {
        let newest = Arc::clone(&self.newest.lock().await.session);
        // A table that came later was not there, which is as if it were empty.
        let mut versions = versions.clone();
        for name in newest.snapshot().versions().into_keys() {
            versions.entry(name).or_insert(0);
        }
        if newest.snapshot().versions() == versions {
            return Ok(newest);
        }
        let found = {
            let mut earlier = self.earlier.lock().await;
            let is_it = |session: &Arc<Session>| session.snapshot().versions() == versions;
            let found = earlier.iter().position(is_it);
            found.and_then(|at| earlier.remove(at))
        };
        // Logs are read while others go on.
        let session = match found {
            Some(session) => session,
            None => Arc::new(newest.over(pinned(newest.snapshot(), &versions).await?)?),
        };
        self.keep(Arc::clone(&session)).await;
        Ok(session)
    }

    async fn keep(&self, session: Arc<Session>) {
        let mut earlier = self.earlier.lock().await;
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
    pub(crate) async fn newest_versions(&self) -> (TableVersions, Duration) {
        let newest = self.newest.lock().await;
        (newest.snapshot.versions(), newest.since.elapsed())
    }

    /// Bytes that the operators of all queries hold now.
    pub(crate) async fn held_bytes(&self) -> usize {
        self.newest.lock().await.session.held_bytes()
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
