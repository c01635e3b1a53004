//! The stage: locators in, attempts out, chunks committed. Requests go on while a chunk is written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use chrono::Utc;
use datafusion::datasource::MemTable;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::col;
use datafusion::scalar::ScalarValue;
use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::query::frame;
use tuwen_corpus::report::{Progress, StageReport};
use tuwen_corpus::{
    Corpus, NewFiles, Rows, Run, Scratch, Snapshot, bare_session, seeking_session, spilling_session,
};
use tuwen_settings::FetchSettings;

use crate::driver::{self, Chunk, RedGate, Stage};
use crate::fetch::attempt::to_batch;
use crate::fetch::http::Http;
use crate::fetch::{Attempt, FetchOutcome, folder};

/// Attempts that wait for the writer: enough to keep requests going while a chunk is committed.
const WAITING_ATTEMPTS: usize = 256;

/// Attempts in one commit at most, however small they are.
const CHUNK_ATTEMPTS: usize = 20_000;

/// Where bytes come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The URLs of the pairs.
    Http,
    /// A folder of files already downloaded, matched by the pairs' file names.
    Folder(PathBuf),
}

/// Asks for every locator of `pairs` that was not asked for yet, once each. If there are more locators without bytes in the end than
/// `max_rejected_percent`, the gate is red; what was got is committed all the same.
///
/// # Errors
/// The corpus cannot be read or written; the image folder is none; the gate is red. What the network does wrong is recorded, not
/// an error.
pub async fn fetch(
    corpus: &Corpus,
    origin: Origin,
    settings: &FetchSettings,
    max_rejected_percent: Option<f64>,
    stop: &CancellationToken,
) -> Result<StageReport> {
    let stage = Fetch::new(origin, settings, max_rejected_percent, stop);
    driver::run(corpus, stage, stop).await
}

struct Fetch<'a> {
    getter: Arc<Getter>,
    from_files: bool,
    settings: &'a FetchSettings,
    /// Whether what failed before is still to be tried again; once in a run.
    retry_failed: bool,
    /// Whether an attempt of this pass failed for a reason that may pass.
    may_pass: bool,
    scratch: Scratch,
    /// Where in the log of attempts those of this run begin.
    first_seq: Option<i64>,
    asking: Option<Asking>,
    max_rejected_percent: Option<f64>,
    stop: &'a CancellationToken,
}

impl<'a> Fetch<'a> {
    fn new(
        origin: Origin,
        settings: &'a FetchSettings,
        max_rejected_percent: Option<f64>,
        stop: &'a CancellationToken,
    ) -> Result<Self> {
        if let Origin::Folder(folder) = &origin
            && !folder.is_dir()
        {
            bail!(
                "--image-dir {}: expected a folder with the pictures, found none",
                folder.display()
            );
        }
        Ok(Self {
            from_files: matches!(origin, Origin::Folder(_)),
            getter: Arc::new(Getter::new(origin, settings)?),
            settings,
            retry_failed: settings.retry_failed,
            may_pass: false,
            scratch: Scratch::new()?,
            first_seq: None,
            asking: None,
            max_rejected_percent,
            stop,
        })
    }
}

/// Requests under way.
struct Asking {
    attempts: mpsc::Receiver<Attempt>,
    task: JoinHandle<Result<()>>,
    /// Ends the asking; what was asked for still arrives.
    stop: CancellationToken,
}

impl Stage for Fetch<'_> {
    const NAME: &'static str = "fetch";
    const TABLE: &'static str = "originals";
    const SOURCES: &'static [&'static str] = &["pairs"];

    fn settings(&self) -> Value {
        serde_json::json!({ "from_files": self.from_files, "fetch": self.settings })
    }

    fn always(&self) -> bool {
        self.settings.retry_failed
    }

    /// The first pass has all locators; the next ones have those of them whose failure may pass.
    async fn todo(
        &mut self,
        _run: &Run,
        snapshot: &Snapshot,
        new: Option<&NewFiles>,
        report: &mut StageReport,
    ) -> Result<Option<u64>> {
        if self.first_seq.is_none() {
            self.first_seq = Some(snapshot.next_number("originals").await?);
        }
        let ctx = match new {
            Some(_) => seeking_session()?,
            None => spilling_session(snapshot.n_rows("pairs", None)?)?,
        };
        snapshot.register(&ctx).await?;
        if let Some(new) = new {
            snapshot.register_files(&ctx, "pairs", &new["pairs"], "pairs").await?;
        }
        let may_pass = FetchOutcome::MAY_PASS.map(|outcome| outcome.to_string().into());
        let may_pass = ScalarValue::new_list_nullable(&may_pass, &DataType::Utf8);
        let params = [
            ("may_pass", ScalarValue::List(may_pass)),
            ("from_files", self.from_files.into()),
            ("retry_failed", self.retry_failed.into()),
            ("attempts", self.settings.attempts.into()),
        ];
        let text = include_str!("../../../../sql/fetch_todo.sql");
        let todo = frame(&ctx, "fetch_todo", text, params).await?;
        let n_rows = self.scratch.hold(&ctx, "todo", todo).await?;
        self.retry_failed = false;
        self.may_pass = false;
        if n_rows == 0 {
            return Ok(None);
        }
        report.rows_in = report.rows_in.max(n_rows);
        let todo = ctx.table("todo").await?.sort_by(vec![col("place")])?;
        let locators = locators(todo.execute_stream().await?);
        let (sender, attempts) = mpsc::channel(WAITING_ATTEMPTS);
        let stop = self.stop.child_token();
        let getter = Arc::clone(&self.getter);
        let ask = ask(locators, getter, self.settings.concurrency, sender, stop.clone());
        self.asking = Some(Asking { attempts, task: tokio::spawn(ask), stop });
        Ok(Some(n_rows))
    }

    async fn next_chunk(
        &mut self,
        _snapshot: &Snapshot,
        progress: &Progress,
        _report: &mut StageReport,
    ) -> Result<Option<Chunk>> {
        let Some(asking) = &mut self.asking else { return Ok(None) };
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while bytes < self.settings.chunk_bytes && chunk.len() < CHUNK_ATTEMPTS {
            let Some(attempt) = asking.attempts.recv().await else { break };
            progress.add(1);
            self.may_pass |= FetchOutcome::MAY_PASS.contains(&attempt.outcome());
            bytes += attempt.bytes_len();
            chunk.push(attempt);
        }
        if chunk.is_empty() {
            if let Some(asking) = self.asking.take() {
                asking.task.await.context("the task that asks panicked")??;
            }
            return Ok(None);
        }
        let batch = to_batch(&chunk)?;
        drop(chunk);
        let ctx = bare_session(Rows::Heavy)?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        ctx.register_table("attempts", Arc::new(table))?;
        Ok(Some(Chunk::Rows(ctx.table("attempts").await?)))
    }

    fn again(&self) -> bool {
        self.may_pass
    }

    fn stop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.stop.cancel();
        }
    }

    async fn judge(&mut self, snapshot: &Snapshot) -> Result<()> {
        let Some(most) = self.max_rejected_percent.filter(|most| *most < 100.0) else {
            return Ok(());
        };
        RedGate::of_rejected("locators", &outcomes(snapshot, 0).await?, most)
    }

    /// The attempts were counted as they were committed; of a locator tried twice the last is what counts.
    async fn finish(&mut self, snapshot: &Snapshot, report: &mut StageReport) -> Result<()> {
        let Some(first_seq) = self.first_seq.filter(|_| report.commits > 0) else { return Ok(()) };
        report.rejected = outcomes(snapshot, first_seq).await?;
        report.rows_out = report.rejected.remove("ok").unwrap_or(0);
        if report.rejected.contains_key("private_host") {
            report.hints.push(
                "addresses that are not public were not asked; --allow-private-hosts asks them"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// Locators by the outcome of their last attempt, of those from `first_seq` on.
async fn outcomes(snapshot: &Snapshot, first_seq: i64) -> Result<BTreeMap<String, u64>> {
    let ctx = spilling_session(snapshot.n_rows("pairs", None)?)?;
    snapshot.register(&ctx).await?;
    let text = include_str!("../../../../sql/fetch_outcomes.sql");
    let params = [("first_seq", first_seq.into())];
    let mut outcomes = BTreeMap::new();
    for batch in frame(&ctx, "fetch_outcomes", text, params).await?.collect().await? {
        let names = batch.column(0).as_string::<i32>().iter().flatten();
        let counts = batch.column(1).as_primitive::<Int64Type>().values();
        outcomes.extend(names.zip(counts).map(|(name, n)| (name.to_owned(), *n as u64)));
    }
    Ok(outcomes)
}

/// `(locator, attempts so far)` of each row.
fn locators(
    batches: SendableRecordBatchStream,
) -> impl Stream<Item = Result<(String, i32)>> + Send + Unpin {
    let rows = batches.map_err(anyhow::Error::from).map_ok(|batch| {
        let locators = batch.column(0).as_string::<i32>();
        let attempts = batch.column(1).as_primitive::<Int32Type>();
        let rows: Vec<_> = locators
            .iter()
            .zip(attempts.values())
            .map(|(locator, attempts)| Ok((locator.unwrap_or_default().to_owned(), *attempts)))
            .collect();
        futures::stream::iter(rows)
    });
    Box::pin(rows.try_flatten())
}

/// Keeps `concurrency` attempts under way and hands each to `sender` as it ends, until all are done or `stop` is cancelled: then
/// those under way.
async fn ask(
    locators: impl Stream<Item = Result<(String, i32)>> + Unpin,
    getter: Arc<Getter>,
    concurrency: usize,
    sender: mpsc::Sender<Attempt>,
    stop: CancellationToken,
) -> Result<()> {
    let attempts = locators
        .take_until(stop.cancelled_owned())
        .map_ok(|(locator, tried)| {
            let getter = Arc::clone(&getter);
            // A task of its own, so that hashing and reading go on while a chunk is written.
            async move {
                tokio::spawn(async move { getter.attempt(locator, tried + 1).await })
                    .await
                    .context("an attempt panicked")
            }
        })
        .try_buffer_unordered(concurrency.max(1));
    let mut attempts = std::pin::pin!(attempts);
    while let Some(attempt) = attempts.try_next().await? {
        // The stage hangs up only when it failed; its error is the one to report.
        if sender.send(attempt).await.is_err() {
            break;
        }
    }
    Ok(())
}

enum Getter {
    Http(Http),
    Folder { folder: PathBuf, max_bytes: u64 },
}

impl Getter {
    fn new(origin: Origin, settings: &FetchSettings) -> Result<Self> {
        Ok(match origin {
            Origin::Http => Self::Http(Http::new(settings)?),
            Origin::Folder(folder) => Self::Folder { folder, max_bytes: settings.max_bytes },
        })
    }

    async fn attempt(&self, locator: String, attempt: i32) -> Attempt {
        let _place = match self {
            Self::Http(http) => http.place(&locator).await,
            Self::Folder { .. } => None,
        };
        let clock = Instant::now();
        let result = match self {
            Self::Http(http) => {
                http.get(&locator).await.map(|(bytes, status)| (bytes, Some(status)))
            }
            Self::Folder { folder, max_bytes } => {
                let name = locator.strip_prefix("file:").unwrap_or(&locator);
                folder::read(folder, name, *max_bytes).await.map(|bytes| (bytes, None))
            }
        };
        Attempt {
            locator,
            attempt,
            elapsed_ms: clock.elapsed().as_millis() as i64,
            ended_us: Utc::now().timestamp_micros(),
            result,
        }
    }
}
