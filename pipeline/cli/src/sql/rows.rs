//! The rows of one planned statement as they come. In: the plan, and how long it may take. Out: batches, and errors for whoever
//! wrote the query. The query runs on the threads of the runtime; dropping its rows ends it.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::{SendableRecordBatchStream, execute_stream};
use datafusion::prelude::DataFrame;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tuwen_corpus::{Engine, planned};
use tuwen_etl::sql::{Prepared, QueryError};

use crate::cli::age::age_text;
use crate::sql::stoppable::stoppable;

/// Batches that wait to be taken: the next is computed meanwhile, and no more.
const BATCHES_AHEAD: usize = 1;

/// The rows of a query, within its time.
pub(crate) struct Rows {
    batches: Batches,
    patience: Patience,
    prepared: Prepared,
}

impl Rows {
    /// Starts `prepared`, whose batches may be waited for as long as `timeout` together; what is done with them is not counted.
    pub(crate) fn of(prepared: Prepared, timeout: Option<Duration>) -> Self {
        let batches = Batches::of(prepared.frame().clone(), Arc::clone(prepared.engine()));
        Self { batches, patience: Patience::of(timeout), prepared }
    }

    /// The next batch; none after the last.
    ///
    /// # Errors
    /// The query fails, takes too long, or came to no end of its own: what was sent is not all.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        let batch = self.patience.wait(self.batches.next()).await??;
        batch.transpose().map_err(|error| self.prepared.explain(&error))
    }
}

/// The batches of a plan, which runs on the threads of the runtime; dropping them ends it.
struct Batches {
    batches: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
    task: JoinHandle<()>,
    /// Dropped, it stops what does not give way by itself.
    _stop: DropGuard,
}

impl Batches {
    fn of(frame: DataFrame, engine: Arc<dyn Engine>) -> Self {
        let (send, batches) = mpsc::channel(BATCHES_AHEAD);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut stream = match Box::pin(stream(frame, engine, &stopped)).await {
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
        Self { batches, task, _stop: stop.drop_guard() }
    }

    /// The next; none after the last, and an error if the task came to no end of its own.
    async fn next(&mut self) -> Result<Option<Result<RecordBatch, DataFusionError>>, QueryError> {
        let batch = self.batches.recv().await;
        if batch.is_none() {
            (&mut self.task).await.map_err(|error| broken_off(&error))?;
        }
        Ok(batch)
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The rows of `frame` until `stop` is cancelled.
async fn stream(
    frame: DataFrame,
    engine: Arc<dyn Engine>,
    stop: &CancellationToken,
) -> Result<SendableRecordBatchStream, DataFusionError> {
    let of_engine = |error: anyhow::Error| match error.downcast::<DataFusionError>() {
        Ok(error) => error,
        Err(error) => DataFusionError::External(error.into()),
    };
    let (plan, context) = planned(engine.as_ref(), frame).await.map_err(of_engine)?;
    match engine.is_cluster() {
        // A job ends when nobody wants its rows any more.
        true => engine.run(plan, context).await.map_err(of_engine),
        false => execute_stream(stoppable(plan, stop)?, context),
    }
}

fn broken_off(error: &JoinError) -> QueryError {
    if error.is_cancelled() {
        return QueryError::new("the query was cancelled before its last row");
    }
    QueryError::new(format!("the engine failed within the query: {error}"))
        .hint("the same rows can often be had by another query")
}

/// How long a query may still be waited for.
pub(crate) struct Patience {
    timeout: Option<Duration>,
    left: Option<Duration>,
}

impl Patience {
    /// All of `timeout`; without one it has no end.
    pub(crate) fn of(timeout: Option<Duration>) -> Self {
        Self { timeout, left: timeout }
    }

    /// What comes of `work`.
    ///
    /// # Errors
    /// It takes longer than is left.
    pub(crate) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, QueryError> {
        let begun = Instant::now();
        let mut clock = Clock::start(self.left);
        let done = tokio::select! {
            biased;
            () = clock.ring() => return Err(self.too_long()),
            done = work => done,
        };
        self.left = self.left.map(|left| left.saturating_sub(begun.elapsed()));
        Ok(done)
    }

    fn too_long(&self) -> QueryError {
        let timeout = age_text(self.timeout.unwrap_or_default());
        QueryError::new(format!("the query was stopped after {timeout}"))
            .hint("--timeout allows more; a limit, or a filter on a join, needs less")
    }
}

/// Rings once. It is a thread of its own, since queries may keep all threads busy that the runtime's clock is looked after by.
struct Clock {
    ringing: Option<oneshot::Receiver<()>>,
    /// Dropped, it ends the thread.
    _stop: Option<Sender<()>>,
}

impl Clock {
    /// A clock that rings after `timeout`; without one, never.
    fn start(timeout: Option<Duration>) -> Self {
        let Some(after) = timeout else { return Self { ringing: None, _stop: None } };
        let ((stop, stopped), (ring, ringing)) = (channel::<()>(), oneshot::channel());
        std::thread::spawn(move || {
            if stopped.recv_timeout(after) == Err(RecvTimeoutError::Timeout) {
                // Nobody may be listening any more.
                let _ = ring.send(());
            }
        });
        Self { ringing: Some(ringing), _stop: Some(stop) }
    }

    /// Waits until it rings.
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
    use tuwen_corpus::Here;

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
        let error = Batches::of(frame, Arc::new(Here)).next().await.unwrap_err().to_string();
        assert!(error.starts_with("the engine failed within the query: "), "{error}");
        assert!(error.contains("offset overflow"), "{error}");

        let frame = ctx.sql("select value from generate_series(1, 3)").await.unwrap();
        let mut rows = Batches::of(frame, Arc::new(Here));
        assert_eq!(rows.next().await.unwrap().unwrap().unwrap().num_rows(), 3);
        assert!(rows.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn only_waiting_counts() {
        let timeout = Duration::from_millis(500);
        let mut patience = Patience::of(Some(timeout));
        assert_eq!(patience.wait(async { 1 }).await.unwrap(), 1);
        // Whoever reads takes their time.
        std::thread::sleep(timeout + timeout / 5);
        assert_eq!(patience.wait(async { 2 }).await.unwrap(), 2);
        let error = patience.wait(std::future::pending::<()>()).await.unwrap_err();
        assert!(error.message().starts_with("the query was stopped after "), "{error}");
    }

    /// None of them would come to its end in years; a runtime that is dropped waits for the end of what it is at.
    #[test]
    fn what_never_gives_way_is_stopped() {
        let series = "generate_series(1, 1400000)";
        for query in [
            format!("select count(*) from {series} a(x), {series} b(y) where x + y < 0"),
            format!(
                "select count(*), max(x + y + z) from {series} a(x), {series} b(y), {series} c(z)"
            ),
            format!("select x from {series} a(x) left join {series} b(y) on x + y < 0"),
            format!("select count(*) from {series} a(x) join {series} b(y) on x % 2 = y % 2"),
        ] {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let frame = SessionContext::new().sql(&query).await.unwrap();
                let mut rows = Batches::of(frame, Arc::new(Here));
                let waited = tokio::time::timeout(Duration::from_millis(300), rows.next()).await;
                assert!(waited.is_err(), "{query}");
            });
            drop(runtime);
        }
    }
}
