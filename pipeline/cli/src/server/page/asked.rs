//! Queries of pages, asked once a snapshot. In: a file of sql/ without parameters. Out: its rows, which are kept until a table has
//! another version: counting 1.4 million rows takes seconds, looking at what was counted none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::sync::{Mutex, OnceCell};
use tuwen_corpus::TableVersions;
use tuwen_etl::sql::{Params, Session, statements};

use crate::server::Served;
use crate::sql::output::{Bytes, for_each_row};
use crate::sql::rows::Rows;

/// Rows of an answer that are kept; no query of a page has more.
const MOST_ROWS: usize = 5_000;

/// The rows of a query, as text.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) columns: Vec<String>,
    /// None for NULL.
    pub(super) rows: Vec<Vec<Option<String>>>,
    /// How long they took when they were asked for.
    pub(super) took: Duration,
}

impl Answer {
    /// The text in a column of a row; empty for NULL.
    pub(super) fn text<'a>(&self, row: &'a [Option<String>], column: &str) -> &'a str {
        let place = self.columns.iter().position(|name| name == column);
        place.and_then(|i| row[i].as_deref()).unwrap_or_default()
    }

    /// The number in a column of a row; 0 for NULL.
    pub(super) fn number(&self, row: &[Option<String>], column: &str) -> f64 {
        self.text(row, column).parse().unwrap_or_default()
    }

    /// The count in a column of a row; 0 for NULL.
    pub(super) fn count(&self, row: &[Option<String>], column: &str) -> u64 {
        self.text(row, column).parse().unwrap_or_default()
    }
}

/// A corpus with the answers that are known of it.
pub(super) struct Asked {
    served: Arc<Served>,
    known: Mutex<Known>,
}

/// Answers of one snapshot, by the text of the query: as many as there are files, at most.
#[derive(Default)]
struct Known {
    versions: TableVersions,
    answers: HashMap<&'static str, Arc<OnceCell<Arc<Answer>>>>,
}

impl Asked {
    pub(super) fn of(served: Arc<Served>) -> Self {
        Self { served, known: Mutex::default() }
    }

    /// The session that answers are of.
    pub(super) async fn session(&self) -> Result<Arc<Session>> {
        self.served.session().await
    }

    /// The rows of `query`, a file of sql/: those that are known, or new ones. Who asks meanwhile waits for the same.
    ///
    /// # Errors
    /// The query fails, or takes too long.
    pub(super) async fn answer(&self, query: &'static str) -> Result<Arc<Answer>> {
        let session = self.served.session().await?;
        let cell = {
            let mut known = self.known.lock().await;
            let versions = session.snapshot().versions();
            if known.versions != versions {
                *known = Known { versions, answers: HashMap::new() };
            }
            Arc::clone(known.answers.entry(query).or_default())
        };
        let timeout = self.served.bounds().timeout;
        let answer =
            cell.get_or_try_init(|| async { asked(&session, query, timeout).await.map(Arc::new) });
        answer.await.map(Arc::clone)
    }
}

async fn asked(session: &Session, query: &str, timeout: Option<Duration>) -> Result<Answer> {
    let clock = Instant::now();
    let statement = statements(query)?.into_iter().next().context("expected a query")?;
    let prepared = Box::pin(session.prepare(&statement, &Params::default())).await?;
    let fields = prepared.frame().schema().fields().iter();
    let mut answer =
        Answer { columns: fields.map(|field| field.name().clone()).collect(), ..Answer::default() };
    let mut rows = Rows::of(prepared, timeout);
    // A query of the page that fails is no fault of who looks at it.
    while let Some(batch) = rows.next().await.map_err(|error| anyhow!("{error}"))? {
        for_each_row(&batch, Bytes::Number, |cells| {
            answer.rows.push(cells.iter().map(|cell| cell.as_deref().map(str::to_owned)).collect());
            Ok(())
        })?;
        if answer.rows.len() >= MOST_ROWS {
            answer.rows.truncate(MOST_ROWS);
            break;
        }
    }
    answer.took = clock.elapsed();
    Ok(answer)
}
