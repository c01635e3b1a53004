//! Queries of pages, asked once a snapshot. In: a file of sql/ without parameters. Out: its rows, which are kept until a table has
//! another version: counting 1.4 million rows takes seconds, looking at what was counted none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;
use tuwen_corpus::TableVersions;
use tuwen_etl::sql::{Params, Session, statements};

use crate::server::Served;
use crate::server::queries::Queries;
use crate::sql::output::{Bytes, for_each_row};

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
pub(super) struct Answers {
    served: Arc<Served>,
    queries: Arc<Queries>,
    known: Mutex<Known>,
}

/// Answers of one snapshot, by the text of the query: as many as there are files, at most.
#[derive(Default)]
struct Known {
    versions: TableVersions,
    answers: HashMap<&'static str, Arc<OnceCell<Arc<Answer>>>>,
}

impl Answers {
    pub(super) fn of(served: Arc<Served>, queries: Arc<Queries>) -> Self {
        Self { served, queries, known: Mutex::default() }
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
        let answer = cell.get_or_try_init(|| async {
            Ok::<_, anyhow::Error>(Arc::new(self.ask(&session, query).await?))
        });
        answer.await.map(Arc::clone)
    }

    async fn ask(&self, session: &Session, query: &'static str) -> Result<Answer> {
        let clock = Instant::now();
        let statement = statements(query)?.into_iter().next().context("expected a query")?;
        let prepared = Box::pin(session.prepare(&statement, &Params::default())).await?;
        let fields = prepared.frame().schema().fields().iter();
        let columns = fields.map(|field| field.name().clone()).collect();
        let mut answer = Answer { columns, ..Answer::default() };
        // A query of the page that fails is no fault of who looks at it.
        let failed = |failure| anyhow!("{failure}");
        let mut rows =
            self.queries.run(prepared, CancellationToken::new()).await.map_err(failed)?;
        while let Some(batch) = rows.next().await {
            for_each_row(&batch.map_err(failed)?, Bytes::Number, |cells| {
                let cells = cells.iter().map(|cell| cell.as_deref().map(str::to_owned));
                answer.rows.push(cells.collect());
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
}
