//! Queries of programs and of the page under way. In: work of planning, or a planned statement. Out: its result, or rows, within the
//! bounds. Queries have threads of their own, so that the server answers while they keep all cores busy. How long a query may take does not
//! count what its reader makes it wait; a reader that takes nothing for long has left, and one that is slow gives way to who waits. Dropping
//! rows ends their query.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tuwen_etl::sql::{Prepared, QueryError};

use crate::cli::age::age_text;
use crate::server::metrics::{Metrics, Outcome};
use crate::server::served::Bounds;
use crate::sql::rows::Rows;

/// Queries that wait for their turn at most, for each that may run.
const WAITING_PER_TURN: usize = 16;

/// Statements that are planned at once: planning waits for logs more than it computes.
const MOST_PLANS: usize = 8;

/// How long planning takes at most where queries have no limit.
const LONGEST_PLANNING: Duration = Duration::from_secs(600);

/// How long a reader may take nothing of the rows that are there.
pub(crate) const READER_PATIENCE: Duration = Duration::from_secs(120);

/// How long a query may wait for its reader in all while others wait for their turn, and how often it looks whether they do.
const READER_LIMIT: Duration = Duration::from_secs(300);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Batches that wait for their reader: the next is computed meanwhile, and no more.
const BATCHES_AHEAD: usize = 1;

/// Why a query has no rows, or no more.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    pub(crate) error: QueryError,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self { outcome: Outcome::Failed, error }
    }
}

impl Failure {
    fn new(outcome: Outcome, message: impl Into<String>, hint: &str) -> Self {
        Self { outcome, error: QueryError::new(message).hint(hint) }
    }

    fn too_long(what: &str, limit: Duration) -> Self {
        let message = format!("{what} was stopped after {}", age_text(limit));
        let hint =
            "--timeout of tuwen serve allows more; a limit, or a filter on a join, needs less";
        Self::new(Outcome::Timeout, message, hint)
    }

    fn stopping() -> Self {
        let hint = "ask again when it is back";
        Self::new(Outcome::Stopped, "the server is stopping", hint)
    }
}

/// Where queries run.
pub(crate) struct Queries {
    /// Always there, but while this is dropped.
    runtime: Option<Runtime>,
    bounds: Bounds,
    turns: Arc<Semaphore>,
    plans: Semaphore,
    metrics: Arc<Metrics>,
    /// Cancelled: all queries end.
    end: CancellationToken,
}

impl Drop for Queries {
    fn drop(&mut self) {
        // A runtime that is dropped would wait for its threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Rows on their way; dropping them ends their query.
pub(crate) struct Sent {
    batches: mpsc::Receiver<Result<RecordBatch, Failure>>,
    /// None when its end was seen.
    task: Option<JoinHandle<()>>,
}

impl Sent {
    /// The next batch; none after the last, and an error if what sends them came to no end of its own.
    pub(crate) async fn next(&mut self) -> Option<Result<RecordBatch, Failure>> {
        if let Some(batch) = self.batches.recv().await {
            return Some(batch);
        }
        let ended = self.task.take()?.await;
        ended.err().map(|error| Err(broken(&error)))
    }
}

impl Queries {
    /// Threads for queries within `bounds`, which all end when `end` is cancelled.
    ///
    /// # Errors
    /// The system has no threads left.
    pub(crate) fn start(
        bounds: Bounds,
        metrics: Arc<Metrics>,
        end: CancellationToken,
    ) -> Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().thread_name("query").build();
        Ok(Self {
            runtime: Some(runtime.context("starting the threads of queries")?),
            bounds,
            turns: Arc::new(Semaphore::new(bounds.max_queries)),
            plans: Semaphore::new(MOST_PLANS),
            metrics,
            end,
        })
    }

    /// Queries that run or wait.
    pub(crate) fn n_under_way(&self) -> i64 {
        self.metrics.n_running() + self.metrics.n_waiting()
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken by drop alone")
    }

    /// What comes of `work`, such as planning a statement.
    ///
    /// # Errors
    /// It fails, takes too long, or the server is stopping.
    pub(crate) async fn plan<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, Failure> {
        let clock = Instant::now();
        let planned = self.planned(work).await;
        if let Err(failure) = &planned {
            self.metrics.ended(failure.outcome, clock.elapsed());
        }
        planned
    }

    async fn planned<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, QueryError>> + Send + 'static,
    ) -> Result<T, Failure> {
        let limit = self.bounds.timeout.unwrap_or(LONGEST_PLANNING);
        let planned = async {
            let _place = self.plans.acquire().await.map_err(|_| Failure::stopping())?;
            let mut task = Aborting(self.runtime().spawn(work));
            match (&mut task.0).await {
                Ok(planned) => planned.map_err(Failure::from),
                Err(error) => Err(broken(&error)),
            }
        };
        tokio::select! {
            biased;
            () = self.end.cancelled() => Err(Failure::stopping()),
            planned = timeout(limit, planned) => {
                planned.unwrap_or_else(|_| Err(Failure::too_long("planning the query", limit)))
            }
        }
    }

    /// Runs `prepared` when its turn has come, until its last row was taken, its rows are dropped, or `cancel` is cancelled.
    ///
    /// # Errors
    /// Too many queries are under way.
    pub(crate) async fn run(
        self: &Arc<Self>,
        prepared: Prepared,
        cancel: CancellationToken,
    ) -> Result<Sent, Failure> {
        let clock = Instant::now();
        let turn = match self.turn(&cancel).await {
            Ok(turn) => turn,
            Err(failure) => {
                self.metrics.ended(failure.outcome, clock.elapsed());
                return Err(failure);
            }
        };
        let (send, batches) = mpsc::channel(BATCHES_AHEAD);
        let queries = Arc::clone(self);
        let task = tokio::spawn(async move {
            let running = queries.metrics.running();
            let pumped = queries.pump(prepared, &send, &cancel).await;
            let outcome =
                pumped.as_ref().map_or_else(|failure| failure.outcome, |()| Outcome::Done);
            queries.metrics.ended(outcome, clock.elapsed());
            // The next may begin before this one's reader has taken the rest.
            drop((running, turn));
            if let Err(failure) = pumped {
                // Whoever has left is not told.
                let _ = timeout(READER_PATIENCE, send.send(Err(failure))).await;
            }
        });
        Ok(Sent { batches, task: Some(task) })
    }

    async fn turn(&self, cancel: &CancellationToken) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(turn);
        }
        let most = self.bounds.max_queries.saturating_mul(WAITING_PER_TURN);
        let hint = "ask again later; --max-queries of tuwen serve allows more at once";
        if usize::try_from(self.metrics.n_waiting()).is_ok_and(|n| n >= most) {
            let message = format!(
                "{} queries are under way, and {most} wait for their turn",
                self.bounds.max_queries
            );
            return Err(Failure::new(Outcome::Refused, message, hint));
        }
        let _waiting = self.metrics.waiting();
        let limit = self.bounds.timeout.unwrap_or(LONGEST_PLANNING);
        tokio::select! {
            biased;
            () = self.end.cancelled() => Err(Failure::stopping()),
            () = cancel.cancelled() => Err(cancelled()),
            turn = Arc::clone(&self.turns).acquire_owned() => turn.map_err(|_| Failure::stopping()),
            () = sleep(limit) => {
                let message = format!(
                    "{} queries were under way for {}: the turn of this one did not come",
                    self.bounds.max_queries,
                    age_text(limit)
                );
                Err(Failure::new(Outcome::Refused, message, hint))
            }
        }
    }

    /// Sends the rows of `prepared`.
    async fn pump(
        &self,
        prepared: Prepared,
        send: &mpsc::Sender<Result<RecordBatch, Failure>>,
        cancel: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut rows = {
            let _threads = self.runtime().enter();
            Rows::of(prepared, None)
        };
        let limit = self.bounds.timeout;
        let (mut spent, mut waited) = (Duration::ZERO, Duration::ZERO);
        loop {
            let clock = Instant::now();
            let left = limit.map(|limit| limit.saturating_sub(spent));
            let batch = tokio::select! {
                biased;
                () = self.end.cancelled() => return Err(Failure::stopping()),
                () = cancel.cancelled() => return Err(cancelled()),
                () = send.closed() => return Err(cancelled()),
                () = sleep(left.unwrap_or_default()), if left.is_some() => {
                    return Err(Failure::too_long("the query", limit.unwrap_or_default()));
                }
                batch = rows.next() => batch?,
            };
            spent += clock.elapsed();
            let Some(batch) = batch else { return Ok(()) };
            let (n_rows, n_bytes) = (batch.num_rows(), batch.get_array_memory_size());
            let clock = Instant::now();
            tokio::select! {
                biased;
                () = self.end.cancelled() => return Err(Failure::stopping()),
                () = cancel.cancelled() => return Err(cancelled()),
                sent = timeout(READER_PATIENCE, send.send(Ok(batch))) => match sent {
                    Ok(Ok(())) => self.metrics.sent(n_rows, n_bytes),
                    Ok(Err(_)) => return Err(cancelled()),
                    Err(_) => return Err(reader_left()),
                },
                () = self.others_wait(waited) => return Err(reader_slow()),
            }
            waited += clock.elapsed();
        }
    }

    /// Ends when others wait for their turn, and a query that has `waited` for its reader has done so for [`READER_LIMIT`].
    async fn others_wait(&self, waited: Duration) {
        sleep(READER_LIMIT.saturating_sub(waited)).await;
        while self.metrics.n_waiting() == 0 {
            sleep(LOOK_INTERVAL).await;
        }
    }
}

/// A task that ends when it is no longer waited for.
struct Aborting<T>(JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn broken(error: &JoinError) -> Failure {
    let message = format!("the engine failed within the query: {error}");
    let hint = "the same rows can often be had by another query";
    Failure::new(Outcome::Failed, message, hint)
}

fn cancelled() -> Failure {
    Failure {
        outcome: Outcome::Cancelled,
        error: QueryError::new("the query was cancelled before its last row"),
    }
}

fn reader_left() -> Failure {
    let message = format!("nothing of the rows was read for {}", age_text(READER_PATIENCE));
    Failure::new(Outcome::Cancelled, message, "the query ends so that others have their turn")
}

fn reader_slow() -> Failure {
    let limit = age_text(READER_LIMIT);
    let message = format!("its reader made the query wait for {limit}, and others wait their turn");
    Failure::new(Outcome::Cancelled, message, "read the rows faster, or ask for fewer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_gives_way_to_those_who_wait() {
        let (metrics, end) = (Arc::new(Metrics::default()), CancellationToken::new());
        let bounds = Bounds { memory_bytes: 1 << 20, timeout: None, max_queries: 1 };
        let queries = Queries::start(bounds, Arc::clone(&metrics), end).unwrap();
        let soon = Duration::from_millis(50);
        assert!(timeout(soon, queries.others_wait(READER_LIMIT)).await.is_err());
        let _waiting = metrics.waiting();
        assert!(timeout(soon, queries.others_wait(Duration::ZERO)).await.is_err());
        assert!(timeout(soon, queries.others_wait(READER_LIMIT)).await.is_ok());
    }
}
