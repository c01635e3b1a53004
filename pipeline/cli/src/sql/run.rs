//! One planned statement to its rows. In: the plan, a format, and bounds. Out: rows on the target, as they come. What is asked for in
//! vain (more rows than are shown, more time than is allowed) ends the query.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use anyhow::Result;
use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::prelude::DataFrame;
use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tuwen_etl::sql::{Prepared, QueryError};

use crate::cli::age::age_text;
use crate::sql::output::{Format, writer};
use crate::sql::target::Target;

/// Batches that wait to be written: the next is computed meanwhile, and no more.
const BATCHES_AHEAD: usize = 1;

/// How a query is run and shown.
#[derive(Clone, Copy)]
pub(crate) struct Showing {
    /// The format.
    pub(crate) format: Format,
    /// Rows that are shown of a table; none: all.
    pub(crate) max_rows: Option<usize>,
    /// Columns of the terminal that a table may take; none: as many as it needs.
    pub(crate) max_width: Option<usize>,
    /// How long a query may take.
    pub(crate) timeout: Option<Duration>,
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
    let mut clock = Clock::start(timeout);
    tokio::select! {
        biased;
        () = interrupted() => Err(Interrupted.into()),
        () = clock.ring() => Err(too_long(timeout).into()),
        done = work => Ok(done),
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
    let mut rows = Rows::of(prepared.frame().clone());
    let mut clock = Clock::start(showing.timeout);
    let max_rows = showing.max_rows.filter(|_| showing.format == Format::Table);
    let mut shown = Shown { n_rows: 0, is_cut: false };
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    loop {
        let batch = tokio::select! {
            biased;
            () = &mut interrupted => return Err(Interrupted.into()),
            () = clock.ring() => return Err(too_long(showing.timeout).into()),
            batch = rows.next() => batch?,
        };
        let Some(batch) = batch else { break };
        let batch = batch.map_err(|error| prepared.explain(&error))?;
        let left = max_rows.map_or(usize::MAX, |most| most - shown.n_rows);
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

fn too_long(timeout: Option<Duration>) -> QueryError {
    let timeout = age_text(timeout.unwrap_or_default());
    QueryError::new(format!("the query was stopped after {timeout}"))
        .hint("--timeout allows more; a limit, or a filter on a join, needs less")
}

/// The batches of a query, which is run on the threads of the runtime; dropping it ends the query.
struct Rows {
    batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    task: JoinHandle<()>,
}

impl Rows {
    fn of(frame: DataFrame) -> Self {
        let (send, batches) = mpsc::channel(BATCHES_AHEAD);
        let task = tokio::spawn(async move {
            let mut stream = match Box::pin(frame.execute_stream()).await {
                Ok(stream) => stream,
                Err(error) => return drop(send.send(Err(error)).await),
            };
            while let Some(batch) = stream.next().await {
                let is_last = batch.is_err();
                if send.send(batch).await.is_err() || is_last {
                    return;
                }
            }
        });
        Self { batches, task }
    }

    /// The next; none after the last, and an error if the task came to no end of its own: what it sent is not all.
    async fn next(&mut self) -> Result<Option<Result<RecordBatch, DataFusionError>>, QueryError> {
        let batch = self.batches.recv().await;
        if batch.is_none() {
            (&mut self.task).await.map_err(|error| broken_off(&error))?;
        }
        Ok(batch)
    }
}

fn broken_off(error: &JoinError) -> QueryError {
    if error.is_cancelled() {
        return QueryError::new("the query was cancelled before its last row");
    }
    QueryError::new(format!("the engine failed within the query: {error}"))
        .hint("the same rows can often be had by another query")
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Rings once. It is a thread of its own, since queries may keep all threads busy that the runtime's clock is looked after by.
struct Clock {
    ringing: Option<oneshot::Receiver<()>>,
    /// Dropped, it ends the thread.
    _stop: Option<Sender<()>>,
}

impl Clock {
    fn start(timeout: Option<Duration>) -> Self {
        let Some(timeout) = timeout else { return Self { ringing: None, _stop: None } };
        let ((stop, stopped), (ring, ringing)) = (channel::<()>(), oneshot::channel());
        std::thread::spawn(move || {
            if stopped.recv_timeout(timeout) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // Nobody may be listening any more.
                let _ = ring.send(());
            }
        });
        Self { ringing: Some(ringing), _stop: Some(stop) }
    }

    async fn ring(&mut self) {
        match &mut self.ringing {
            Some(ringing) => drop(ringing.await),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;
    use datafusion::logical_expr::{Volatility, create_udf};
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn a_panic_is_an_error_not_the_end_of_the_rows() {
        let ctx = SessionContext::new();
        ctx.register_udf(create_udf(
            "panics",
            vec![DataType::Int64],
            DataType::Int64,
            Volatility::Volatile,
            Arc::new(|_| panic!("offset overflow")),
        ));
        let frame = ctx.sql("select panics(value) from generate_series(1, 3)").await.unwrap();
        let error = Rows::of(frame).next().await.unwrap_err().to_string();
        assert!(error.starts_with("the engine failed within the query: "), "{error}");
        assert!(error.contains("offset overflow"), "{error}");

        let frame = ctx.sql("select value from generate_series(1, 3)").await.unwrap();
        let mut rows = Rows::of(frame);
        assert_eq!(rows.next().await.unwrap().unwrap().unwrap().num_rows(), 3);
        assert!(rows.next().await.unwrap().is_none());
    }
}
