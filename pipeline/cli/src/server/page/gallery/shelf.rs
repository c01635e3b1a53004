//! What the pages keep of a snapshot, so that the next page need not ask again. In: a session. Out: the rows of its examples, what
//! conditions have chosen of them, the captions of models. What many ask for at once is made once; all of it is bounded.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::chosen::{Chosen, Condition, choose};
use super::filter::Filter;
use super::model_captions::ModelCaptions;
use super::rows::{GalleryRows, Marks, TABLE, Wanted};
use crate::server::Served;
use crate::server::page::fault::Fault;
use crate::server::queries::Queries;

/// Versions whose rows are kept: who scrolls through the last one when a new one comes goes on with it.
const VERSIONS: u64 = 2;

/// Bytes of what conditions have chosen.
const CHOSEN_BYTES: u64 = 64 << 20;

/// How long that is kept.
const CHOSEN_FOR: Duration = Duration::from_secs(600);

/// Conditions that are asked at once; the others wait.
const ASKED_AT_ONCE: usize = 2;

/// The caches.
pub(in crate::server::page) struct Shelf {
    served: Arc<Served>,
    queries: Arc<Queries>,
    rows: Cache<i64, Arc<GalleryRows>>,
    newest: Mutex<Option<Arc<GalleryRows>>>,
    /// By the version of the rows.
    chosen: Cache<(i64, Condition), Arc<Chosen>>,
    model_captions: Cache<i64, Arc<ModelCaptions>>,
    asking: Semaphore,
}

/// What a filter leaves of the rows.
pub(in crate::server::page) struct Filtered {
    filter: Filter,
    /// By its text, and by its condition.
    pub(super) chosen: Vec<Arc<Chosen>>,
    /// By both, if it has both.
    both: Option<Marks>,
}

impl Filtered {
    /// Which rows are wanted.
    pub(in crate::server::page) fn wanted(&self) -> Wanted<'_> {
        Wanted { is_wanted: Box::new(|fate| self.filter.wants(fate)), marks: self.marks() }
    }

    /// What its text and its condition have chosen; none: all.
    pub(super) fn marks(&self) -> Option<&Marks> {
        self.both.as_ref().or(self.chosen.first().map(|chosen| &chosen.marks))
    }
}

impl Shelf {
    pub(in crate::server::page) fn new(served: Arc<Served>, queries: Arc<Queries>) -> Self {
        let weight = |_: &(i64, Condition), chosen: &Arc<Chosen>| {
            u32::try_from(chosen.marks.n_bytes()).unwrap_or(u32::MAX)
        };
        let chosen = Cache::builder().weigher(weight).max_capacity(CHOSEN_BYTES);
        Self {
            served,
            queries,
            rows: Cache::new(VERSIONS),
            newest: Mutex::default(),
            chosen: chosen.time_to_live(CHOSEN_FOR).build(),
            model_captions: Cache::new(1),
            asking: Semaphore::new(ASKED_AT_ONCE),
        }
    }

    /// The rows of the newest version.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(in crate::server::page) async fn rows(&self) -> Result<Arc<GalleryRows>, Fault> {
        let session = self.served.session().await?;
        let snapshot = session.snapshot();
        let opened = self.rows.try_get_with(snapshot.version(TABLE).unwrap_or(-1), async {
            let before = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let rows = Arc::new(GalleryRows::open(snapshot, before.as_deref()).await?);
            *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&rows));
            anyhow::Ok(rows)
        });
        opened.await.map_err(|error| Fault::from(error.as_ref()))
    }

    /// The rows of an earlier version, if they are still kept.
    pub(in crate::server::page) async fn rows_at(&self, version: i64) -> Option<Arc<GalleryRows>> {
        self.rows.get(&version).await
    }

    /// What `filter` leaves of `rows`. What time was up for, or what was read of other versions of the tables, is asked again if
    /// `is_first`; the pages behind the first are of what that found.
    ///
    /// # Errors
    /// Its condition is wrong.
    pub(in crate::server::page) async fn filtered(
        &self,
        rows: &GalleryRows,
        filter: Filter,
        is_first: bool,
    ) -> Result<Filtered, Fault> {
        let text = filter.text.clone().map(Condition::Text);
        let condition = filter.condition.clone().map(Condition::Where);
        let mut chosen = Vec::new();
        for condition in text.into_iter().chain(condition) {
            chosen.push(self.chosen(rows, condition, is_first).await?);
        }
        let both = match &chosen[..] {
            [a, b] => Some(rows.marked_by_both(&a.marks, &b.marks)),
            _ => None,
        };
        Ok(Filtered { filter, chosen, both })
    }

    async fn chosen(
        &self,
        rows: &GalleryRows,
        condition: Condition,
        is_first: bool,
    ) -> Result<Arc<Chosen>, Fault> {
        let session = self.served.session().await?;
        let key = (rows.version(), condition.clone());
        if is_first {
            let versions = session.snapshot().versions();
            let is_old = |chosen: Arc<Chosen>| chosen.is_stopped || chosen.versions != versions;
            if self.chosen.get(&key).await.is_some_and(is_old) {
                self.chosen.invalidate(&key).await;
            }
        }
        let chosen = self.chosen.try_get_with(key, async {
            let _turn = self.asking.acquire().await.context("the server stops")?;
            let session = session.apart().await?;
            anyhow::Ok(Arc::new(choose(session, &self.queries, rows, &condition).await?))
        });
        chosen.await.map_err(|error| Fault::from(error.as_ref()))
    }

    /// The captions of the model that wrote last. None where they cannot be read now, such as when queries hold all of the memory: the
    /// pictures are shown without them.
    pub(in crate::server::page) async fn model_captions(&self) -> Arc<ModelCaptions> {
        let opened = async {
            let session = self.served.session().await?;
            let version = session.snapshot().version("captions").unwrap_or(-1);
            let opened = async { anyhow::Ok(Arc::new(ModelCaptions::open(&session).await?)) };
            let opened = self.model_captions.try_get_with(version, opened).await;
            opened.map_err(|error| anyhow!("{error:#}"))
        };
        opened.await.unwrap_or_else(|error| {
            tracing::warn!("page: the gallery is without captions of models: {error:#}");
            Arc::default()
        })
    }
}
