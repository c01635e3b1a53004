//! What a server answers from. In: the name of a corpus, settings, bounds. Out: sessions over its newest snapshot. Never writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::Mutex;
use tuwen_corpus::{Corpus, Snapshot};
use tuwen_etl::sql::Session;
use tuwen_settings::Settings;

/// How old a snapshot may be before it is asked whether there is a newer one.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// What one query may use.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes that its operators hold before they spill, or fail.
    pub(crate) memory_bytes: usize,
    /// How long it may take.
    pub(crate) timeout: Option<Duration>,
}

/// A corpus that is served.
pub(crate) struct Served {
    settings: Settings,
    bounds: Bounds,
    newest: Mutex<Newest>,
}

struct Newest {
    asked: Instant,
    snapshot: Snapshot,
    session: Arc<Session>,
}

impl Served {
    /// Opens the corpus that `settings` name.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(crate) async fn open(settings: Settings, bounds: Bounds) -> Result<Self> {
        let (_, snapshot) = Corpus::open_snapshot(&settings.corpus).await?;
        let session = Session::new(snapshot.clone(), &settings, bounds.memory_bytes)?;
        let newest = Newest { asked: Instant::now(), snapshot, session: Arc::new(session) };
        Ok(Self { settings, bounds, newest: Mutex::new(newest) })
    }

    /// What a query may use.
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The session that all pages of the newest snapshot share: their tables are opened once.
    ///
    /// # Errors
    /// A log cannot be read.
    pub(crate) async fn session(&self) -> Result<Arc<Session>> {
        let mut newest = self.newest.lock().await;
        if newest.asked.elapsed() > FRESH_FOR {
            let before = newest.snapshot.versions();
            newest.snapshot.refresh().await?;
            newest.asked = Instant::now();
            if newest.snapshot.versions() != before {
                newest.session = Arc::new(self.session_over(newest.snapshot.clone())?);
            }
        }
        Ok(Arc::clone(&newest.session))
    }

    /// A session over the newest snapshot with memory of its own: for a query that somebody wrote.
    ///
    /// # Errors
    /// A log cannot be read.
    pub(crate) async fn own_session(&self) -> Result<Session> {
        let snapshot = self.session().await?.snapshot().clone();
        self.session_over(snapshot)
    }

    fn session_over(&self, snapshot: Snapshot) -> Result<Session> {
        Session::new(snapshot, &self.settings, self.bounds.memory_bytes)
    }
}
