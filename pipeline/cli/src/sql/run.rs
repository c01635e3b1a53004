//! One planned statement to its rows. In: the plan, a format, and bounds. Out: rows on the target, as they come. What is asked for in
//! vain (more rows than are shown, more time than is allowed) ends the query.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use arrow::array::RecordBatch;
use tokio::signal::unix::{SignalKind, signal};
use tuwen_etl::sql::Prepared;

use crate::sql::output::{Format, writer};
use crate::sql::rows::{Patience, Rows};
use crate::sql::target::Target;

/// Rows of a table that a terminal shows if nothing else is asked for.
const TERMINAL_ROWS: usize = 100;

/// How a query is run and shown.
#[derive(Clone, Copy)]
pub(crate) struct Showing {
    /// The format.
    pub(crate) format: Format,
    /// Rows that are shown at most, 0 for all; none: [`TERMINAL_ROWS`] of a table at a terminal, otherwise all.
    pub(crate) max_rows: Option<usize>,
    /// Whether a terminal shows them.
    pub(crate) is_terminal: bool,
    /// Columns of the terminal that a table may take; none: as many as it needs.
    pub(crate) max_width: Option<usize>,
    /// How long a query may take.
    pub(crate) timeout: Option<Duration>,
}

impl Showing {
    /// Rows that are shown at most.
    fn most_rows(&self) -> usize {
        match self.max_rows {
            Some(0) => usize::MAX,
            Some(n) => n,
            None if self.is_terminal && self.format == Format::Table => TERMINAL_ROWS,
            None => usize::MAX,
        }
    }
}

/// What came of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Rows that were written.
    pub(crate) n_rows: usize,
    /// Whether there were more.
    pub(crate) is_cut: bool,
}

/// That the person, or a scheduler, has had enough, as an error.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Waits for SIGINT (Ctrl-C) or SIGTERM.
async fn interrupted() {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut int), Ok(mut term)) = signals else { return std::future::pending().await };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}

/// What comes of `work`, such as planning a query, unless it is interrupted or takes longer than `timeout`.
///
/// # Errors
/// It was interrupted, or took too long.
pub(crate) async fn bounded<T>(
    timeout: Option<Duration>,
    work: impl Future<Output = T>,
) -> Result<T> {
    let mut patience = Patience::of(timeout);
    tokio::select! {
        biased;
        () = interrupted() => Err(Interrupted.into()),
        done = patience.wait(work) => Ok(done?),
    }
}

/// Runs `prepared` and writes its rows to `target`.
///
/// # Errors
/// The query fails, takes too long, or is interrupted; or the target cannot be written to.
pub(crate) async fn run(
    prepared: &Prepared,
    showing: Showing,
    target: &mut Target,
) -> Result<Shown> {
    let schema = Arc::new(prepared.frame().schema().as_arrow().clone());
    let mut writer = writer(showing.format, &schema, showing.max_width, target.out()?)?;
    let mut rows = Rows::of(prepared.clone(), showing.timeout);
    let mut shown = Shown { n_rows: 0, is_cut: false };
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    loop {
        let batch = tokio::select! {
            biased;
            () = &mut interrupted => return Err(Interrupted.into()),
            batch = rows.next() => batch?,
        };
        let Some(batch) = batch else { break };
        let left = showing.most_rows() - shown.n_rows;
        let n_rows = batch.num_rows().min(left);
        writer.write(&batch.slice(0, n_rows))?;
        shown.n_rows += n_rows;
        if batch.num_rows() > left {
            shown.is_cut = true;
            break;
        }
    }
    writer.finish()?;
    Ok(shown)
}

/// Writes rows that are there already to `target`.
///
/// # Errors
/// The target cannot be written to.
pub(crate) fn show(rows: &RecordBatch, showing: Showing, target: &mut Target) -> Result<()> {
    let mut writer = writer(showing.format, &rows.schema(), showing.max_width, target.out()?)?;
    writer.write(rows)?;
    writer.finish()
}
