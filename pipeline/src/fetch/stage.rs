//! The stage: locators in, attempts out, chunks committed. The topology is in [`fetch`], sink first.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use chrono::Utc;
use datafusion::datasource::MemTable;
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::prelude::{DataFrame, SessionContext, col, lit};
use futures::{Stream, TryStreamExt};
use tokio::sync::mpsc;

use crate::corpus::{Corpus, Rows, bare_session};
use crate::fetch::attempt::to_batch;
use crate::fetch::http::Http;
use crate::fetch::{Attempt, FetchOutcome, folder};
use crate::ingest::{Id, id_of};
use crate::query::frame;
use crate::report::{Progress, StageReport};
use crate::runs::Run;
use crate::settings::FetchSettings;

/// Attempts that wait for the writer: enough to keep requests going while a chunk is committed.
const WAITING_ATTEMPTS: usize = 256;

/// Attempts in one commit at most, however small they are.
const CHUNK_ATTEMPTS: usize = 20_000;

/// Where bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The URLs of the pairs.
    Http,
    /// A folder of files already downloaded, matched by the pairs' file names.
    Folder(PathBuf),
}

/// Asks for every locator of `pairs` that was not asked for yet, once each.
///
/// # Errors
/// The corpus cannot be read or written; the image folder is none. What the network does wrong is recorded, not an error.
pub async fn fetch(
    corpus: &Corpus,
    source: Source,
    settings: &FetchSettings,
) -> Result<StageReport> {
    if let Source::Folder(folder) = &source
        && !folder.is_dir()
    {
        bail!("--image-dir {}: expected a folder with the pictures, found none", folder.display());
    }
    let run = Run::start(corpus).await?;
    let mut report = StageReport::new("fetch");
    let getter = Arc::new(Getter::new(source.clone(), settings)?);
    let mut retry_failed = settings.retry_failed;
    let mut done = HashMap::new();
    for _pass in 0..settings.attempts.max(1) {
        let ctx = corpus.session(Rows::Light).await?;
        let todo = todo(&ctx, &source, retry_failed, settings.attempts).await?;
        let n_todo = todo.clone().count().await? as u64;
        if n_todo == 0 {
            break;
        }
        // The first pass has all locators; the next ones have those of them whose failure may pass.
        report.rows_in = report.rows_in.max(n_todo);
        retry_failed = false;
        let progress = Progress::start("fetch", n_todo);
        let (sender, receiver) = mpsc::channel(WAITING_ATTEMPTS);
        let next_seq = next_seq(&ctx).await?;
        let writer = write(corpus, receiver, next_seq, settings.chunk_bytes, &progress, &mut done);
        let asker = ask(rows(todo.execute_stream().await?), &getter, settings.concurrency, sender);
        let (commits, ()) = tokio::try_join!(writer, asker)?;
        progress.finish();
        report.commits += commits;
    }
    // The last attempt of a locator is what became of it.
    for outcome in done.into_values() {
        *report.rejected.entry(outcome.to_string()).or_default() += 1;
    }
    report.rows_out = report.rejected.remove("ok").unwrap_or(0);
    if report.rejected.contains_key("private_host") {
        report.hints.push(
            "addresses that are not public were not asked; --allow-private-hosts asks them"
                .to_owned(),
        );
    }
    run.finish(corpus, report, settings).await
}

async fn todo(
    ctx: &SessionContext,
    source: &Source,
    retry_failed: bool,
    attempts: i32,
) -> Result<DataFrame> {
    let (name, text) = match source {
        Source::Http => ("fetch_urls", include_str!("../../../sql/fetch_urls.sql")),
        Source::Folder(_) => ("fetch_files", include_str!("../../../sql/fetch_files.sql")),
    };
    frame(ctx, name, text, [("retry_failed", retry_failed.into()), ("attempts", attempts.into())])
        .await
}

async fn next_seq(ctx: &SessionContext) -> Result<i64> {
    let last =
        ctx.table("originals").await?.aggregate(vec![], vec![max(col("seq")).alias("seq")])?;
    let next =
        last.select(vec![(coalesce(vec![col("seq"), lit(-1i64)]) + lit(1i64)).alias("next")])?;
    let rows = next.collect().await?;
    let first = rows.first().context("an aggregate has a row")?;
    Ok(first.column(0).as_primitive::<Int64Type>().value(0))
}

/// `(locator, attempts so far)` of each row.
fn rows(
    batches: datafusion::execution::SendableRecordBatchStream,
) -> impl Stream<Item = Result<(String, i32)>> + Unpin {
    let rows = batches.map_err(anyhow::Error::from).map_ok(|batch| {
        let rows: Vec<_> = {
            let locators = batch.column(0).as_string::<i32>();
            let attempts = batch.column(1).as_primitive::<Int32Type>();
            locators
                .iter()
                .zip(attempts.values())
                .map(|(l, a)| Ok((l.unwrap_or_default().to_owned(), *a)))
                .collect()
        };
        futures::stream::iter(rows)
    });
    Box::pin(rows.try_flatten())
}

/// Keeps `concurrency` attempts under way and hands each to `sender` as it ends.
async fn ask(
    locators: impl Stream<Item = Result<(String, i32)>> + Unpin,
    getter: &Arc<Getter>,
    concurrency: usize,
    sender: mpsc::Sender<Attempt>,
) -> Result<()> {
    let mut attempts = locators
        .map_ok(|(locator, tried)| {
            let getter = Arc::clone(getter);
            // A task of its own, so that hashing and reading go on while a chunk is written.
            async move {
                tokio::spawn(async move { getter.attempt(locator, tried + 1).await })
                    .await
                    .context("an attempt panicked")
            }
        })
        .try_buffer_unordered(concurrency.max(1));
    while let Some(attempt) = attempts.try_next().await? {
        // The writer hangs up only when it failed; its error is the one to tell.
        if sender.send(attempt).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Commits attempts in chunks and notes each one's outcome in `done`; returns how many commits there were.
async fn write(
    corpus: &Corpus,
    mut attempts: mpsc::Receiver<Attempt>,
    mut next_seq: i64,
    chunk_bytes: u64,
    progress: &Progress,
    done: &mut HashMap<Id, FetchOutcome>,
) -> Result<u64> {
    let (mut chunk, mut bytes, mut commits) = (Vec::new(), 0, 0);
    loop {
        let attempt = attempts.recv().await;
        let is_last = attempt.is_none();
        if let Some(attempt) = attempt {
            progress.add(1);
            bytes += attempt.bytes_len();
            done.insert(id_of(attempt.locator.as_bytes()), attempt.outcome());
            chunk.push(attempt);
        }
        if !chunk.is_empty() && (is_last || bytes >= chunk_bytes || chunk.len() >= CHUNK_ATTEMPTS) {
            let batch = to_batch(&chunk, next_seq)?;
            next_seq += chunk.len() as i64;
            (chunk, bytes) = (Vec::new(), 0);
            let ctx = bare_session(Rows::Heavy)?;
            ctx.register_table(
                "attempts",
                Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?),
            )?;
            corpus.append("originals", ctx.table("attempts").await?).await?;
            commits += 1;
        }
        if is_last {
            return Ok(commits);
        }
    }
}

enum Getter {
    Http(Http),
    Folder { folder: PathBuf, max_bytes: u64 },
}

impl Getter {
    fn new(source: Source, settings: &FetchSettings) -> Result<Self> {
        Ok(match source {
            Source::Http => Self::Http(Http::new(settings)?),
            Source::Folder(folder) => Self::Folder { folder, max_bytes: settings.max_bytes },
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
