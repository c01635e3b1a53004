//! The stage: locators in, attempts out, chunks committed. Requests go on while a chunk is written.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use chrono::Utc;
use datafusion::prelude::col;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tuwen_corpus::report::{Progress, StageReport};
use tuwen_corpus::{
    Corpus, LastRun, NewFiles, Run, Scratch, Snapshot, seeking_session, spilling_session,
};
use tuwen_settings::FetchSettings;

use crate::driver::{self, Chunk, RedGate, Stage};
use crate::fetch::asking::{self, Arrived, Rest};
use crate::fetch::chunk::AttemptsChunk;
use crate::fetch::getter::Getter;
use crate::fetch::metrics::Metrics;
use crate::fetch::outage::Outage;
use crate::fetch::queues::Queues;
use crate::fetch::retry::Retry;
use crate::fetch::tally::Tally;
use crate::fetch::todo::{TodoQuery, asks, is_due};
use crate::fetch::told::{answered, outcomes};
use crate::fetch::{Attempt, FetchOutcome};

/// Attempts that wait for the writer, so that requests go on while a chunk is committed. Their bytes are in the budget of bodies.
const WAITING_ATTEMPTS: usize = 8192;

/// Attempts in one commit at most, however small they are.
const CHUNK_ATTEMPTS: usize = 20_000;

/// Locators that may be asked for without saying who asks: a try.
const LOCATORS_OF_A_TRY: u64 = 10_000;

/// Machines that run jobs on one corpus may disagree so much about the time.
const CLOCKS_DIFFER_US: i64 = 3_600_000_000;

/// Bodies under way get this part of `fetch.memory_limit`. A chunk's rows, the Parquet file that they become and what the allocator
/// keeps take the rest.
const BODIES_PART: u64 = 6;

/// A chunk's part.
const CHUNK_PART: u64 = 10;

/// Where bytes come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The URLs of the pairs.
    Http,
    /// A folder of files already downloaded, matched by the pairs' file names.
    Folder(PathBuf),
}

/// Asks for every locator of `pairs` that is to be asked for: those that never were, and those whose failure may pass and whose time
/// has come. If there are more locators without bytes in the end than `max_rejected_percent`, the gate is red; what was got is
/// committed all the same.
///
/// # Errors
/// The corpus cannot be read or written; the image folder is none; no host answers any more; the gate is red. What single hosts do
/// wrong is recorded, not an error.
pub async fn fetch(
    corpus: &Corpus,
    origin: Origin,
    settings: &FetchSettings,
    max_rejected_percent: Option<f64>,
    stop: &CancellationToken,
) -> Result<StageReport> {
    let stage = Fetch::new(origin, settings, max_rejected_percent, stop);
    let _metrics = match &stage {
        Ok(stage) => Metrics::serve(&settings.metrics, Arc::clone(&stage.tally)).await?,
        Err(_) => None,
    };
    driver::run(corpus, stage, stop).await
}

struct Fetch<'a> {
    getter: Arc<Getter>,
    from_files: bool,
    settings: &'a FetchSettings,
    chunk_bytes: u64,
    retry: Retry,
    scratch: Scratch,
    /// From when on the times of next tries are looked at.
    due_since_us: Option<i64>,
    /// Where in the log of attempts those of this run begin.
    first_seq: Option<i64>,
    asking: Option<Asking>,
    /// What is known of the hosts, between two passes.
    queues: Option<Queues>,
    outage: Outage,
    tally: Arc<Tally>,
    /// Attempts that can be believed and are in no chunk yet.
    believed: VecDeque<Attempt>,
    /// What ends the run after the chunk under way.
    failure: Option<anyhow::Error>,
    /// The latest time, within what a run waits for, at which something is to be tried again.
    next_pass: Option<Instant>,
    n_left: u64,
    max_rejected_percent: Option<f64>,
    stop: &'a CancellationToken,
}

/// Requests under way.
struct Asking {
    arrived: mpsc::Receiver<Arrived>,
    task: JoinHandle<Result<Rest>>,
    /// Ends the asking.
    stop: CancellationToken,
}

impl Drop for Asking {
    /// A stage that fails asks nothing more.
    fn drop(&mut self) {
        self.stop.cancel();
    }
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
        let from_files = matches!(origin, Origin::Folder(_));
        let bodies = settings.memory_limit / BODIES_PART;
        Ok(Self {
            from_files,
            getter: Arc::new(Getter::new(origin, settings, bodies)?),
            settings,
            chunk_bytes: settings.chunk_bytes.min(settings.memory_limit / CHUNK_PART),
            retry: Retry::of(settings)?,
            scratch: Scratch::new()?,
            due_since_us: None,
            first_seq: None,
            asking: None,
            queues: None,
            outage: Outage::default(),
            tally: Arc::new(Tally::new(from_files)),
            believed: VecDeque::new(),
            failure: None,
            next_pass: None,
            n_left: 0,
            max_rejected_percent,
            stop,
        })
    }

    /// A crawl that is more than a try says whose it is.
    fn check_contact(&self, n_rows: u64) -> Result<()> {
        let is_anonymous = self.settings.contact.is_empty() && !self.settings.allow_private_hosts;
        if self.from_files || !is_anonymous || n_rows <= LOCATORS_OF_A_TRY {
            return Ok(());
        }
        bail!(
            "fetch.contact: expected a mail address or a page by which the owners of hosts reach you, found nothing; {n_rows} URLs are to be asked for\n\
             hint: --set fetch.contact=you@example.com"
        )
    }

    /// The next attempts that can be believed; none after the last.
    async fn receive(&mut self, snapshot: &Snapshot, until: Option<Instant>) -> Result<Received> {
        let Some(asking) = &mut self.asking else { return Ok(Received::Ended) };
        let next = asking.arrived.recv();
        let next = match until {
            Some(until) => match timeout_at(until, next).await {
                Ok(next) => next,
                Err(_elapsed) => return Ok(Received::Nothing),
            },
            None => next.await,
        };
        let at_end = next.is_none();
        if let Some(arrived) = next {
            self.tally.count(&arrived.attempt, &arrived.host);
            let budget = self.settings.byte_budget;
            if budget > 0 && self.tally.brought_bytes() >= budget && !self.stop.is_cancelled() {
                tracing::warn!("fetch.byte_budget is spent: stopping after the chunk under way");
                self.stop.cancel();
            }
            match self.failure {
                // Nothing that was not answered is believed any more.
                Some(_) if arrived.attempt.trace.http_status.is_none() => {}
                Some(_) => self.believed.push_back(arrived.attempt),
                None => self.believed.extend(self.outage.take(arrived)),
            }
        }
        if self.outage.is_suspicious(at_end) {
            let mut witnesses = self.outage.witnesses();
            if witnesses.is_empty() {
                match answered(snapshot).await {
                    Ok(answered) => witnesses = answered,
                    Err(error) => self.fail(error),
                }
            }
            if self.getter.answers(&witnesses).await {
                self.believed.extend(self.outage.trust());
            } else {
                let text = self.outage.describe();
                self.fail(anyhow!(
                    "{text}; none of these attempts is recorded\n\
                     hint: run the command again when the network is there"
                ));
            }
        }
        if !at_end {
            return Ok(Received::Attempts);
        }
        self.believed.extend(self.outage.believe());
        if let Some(mut asking) = self.asking.take() {
            let rest = (&mut asking.task).await.context("the task that asks panicked");
            match rest.and_then(|rest| rest) {
                Ok(rest) => {
                    self.n_left += rest.n_left;
                    self.queues = Some(rest.queues);
                }
                Err(error) => self.fail(error),
            }
        }
        Ok(Received::Attempts)
    }

    /// Ends the run by `error`, after what came is committed.
    fn fail(&mut self, error: anyhow::Error) {
        self.failure.get_or_insert(error);
        self.stop();
    }

    /// Notes when `attempt` is to be tried again, if a run waits so long.
    fn note_next_try(&mut self, attempt: &Attempt) {
        let Some(next_try_us) = attempt.next_try_us else { return };
        let longest_wait = Duration::from_secs(self.settings.longest_wait_secs);
        if attempt.attempt >= self.settings.attempts || longest_wait.is_zero() {
            return;
        }
        let wait = u64::try_from(next_try_us - Utc::now().timestamp_micros()).unwrap_or(0);
        let wait = Duration::from_micros(wait);
        if wait <= longest_wait {
            self.next_pass = self.next_pass.max(Some(Instant::now() + wait));
        }
    }
}

/// What [`Fetch::receive`] brought.
enum Received {
    /// Perhaps some attempts.
    Attempts,
    /// Nothing in time.
    Nothing,
    /// There is nothing more.
    Ended,
}

impl Stage for Fetch<'_> {
    const NAME: &'static str = "fetch";
    const TABLE: &'static str = "originals";
    const SOURCES: &'static [&'static str] = &["pairs"];

    fn settings(&self) -> Value {
        serde_json::json!({ "from_files": self.from_files, "fetch": self.settings })
    }

    fn always(&self) -> bool {
        self.retry != Retry::default()
    }

    /// What was due when the last run began it has asked for.
    async fn is_due(&mut self, snapshot: &Snapshot, last: &LastRun) -> Result<bool> {
        self.due_since_us = Some(last.started_us - CLOCKS_DIFFER_US);
        is_due(snapshot, self.due_since_us).await
    }

    /// The first pass has all locators; the next ones have what has become due meanwhile, and what was left.
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
        if let Some(next_pass) = self.next_pass.take() {
            tracing::info!(
                "waiting {} s for what is to be tried again",
                next_pass.saturating_duration_since(Instant::now()).as_secs()
            );
            tokio::select! {
                () = sleep_until(next_pass) => {}
                () = self.stop.cancelled() => return Ok(None),
            }
        }
        self.n_left = 0;
        let ctx = match new {
            Some(_) => seeking_session()?,
            None => spilling_session(snapshot.n_rows("pairs", None)?)?,
        };
        snapshot.register(&ctx).await?;
        if let Some(new) = new {
            snapshot.register_files(&ctx, "pairs", &new["pairs"], "pairs").await?;
        }
        let query = TodoQuery {
            from_files: self.from_files,
            retry: &self.retry,
            settings: self.settings,
            due_since_us: self.due_since_us.filter(|_| new.is_some()),
            first_seq: self.first_seq,
        };
        let n_rows = query.hold(&ctx, &self.scratch).await?;
        if n_rows == 0 {
            return Ok(None);
        }
        self.check_contact(n_rows)?;
        report.rows_in = report.rows_in.max(n_rows);
        let todo = ctx.table("todo").await?.sort_by(vec![col("place")])?;
        let todo = asks(todo.execute_stream().await?);
        let (sender, arrived) = mpsc::channel(WAITING_ATTEMPTS);
        let stop = self.stop.child_token();
        let (getter, settings) = (Arc::clone(&self.getter), self.settings.clone());
        let (queues, token) = (self.queues.take(), stop.clone());
        let asking =
            async move { asking::ask(todo, getter, &settings, queues, sender, token).await };
        self.asking = Some(Asking { arrived, task: tokio::spawn(asking), stop });
        Ok(Some(n_rows))
    }

    async fn next_chunk(
        &mut self,
        snapshot: &Snapshot,
        progress: &Progress,
        _report: &mut StageReport,
    ) -> Result<Option<Chunk>> {
        let mut chunk = AttemptsChunk::default();
        let mut until = None;
        while chunk.bytes < self.chunk_bytes && chunk.n_attempts < CHUNK_ATTEMPTS {
            if let Some(attempt) = self.believed.pop_front() {
                until
                    .get_or_insert(Instant::now() + Duration::from_secs(self.settings.commit_secs));
                progress.add(1);
                progress.say(|| self.tally.figures());
                self.note_next_try(&attempt);
                chunk.push(attempt)?;
                continue;
            }
            match self.receive(snapshot, until).await? {
                Received::Attempts => {}
                Received::Nothing | Received::Ended => break,
            }
        }
        if chunk.n_attempts == 0 {
            return self.failure.take().map_or(Ok(None), Err);
        }
        Ok(Some(Chunk::Rows(chunk.rows().await?)))
    }

    fn again(&self) -> bool {
        self.next_pass.is_some() || self.n_left > 0
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
        let mut outcomes = outcomes(snapshot, 0).await?;
        // Still there.
        let n_same = outcomes.remove(FetchOutcome::NotModified.name()).unwrap_or(0);
        *outcomes.entry(FetchOutcome::Ok.name().to_owned()).or_default() += n_same;
        RedGate::of_rejected("locators", &outcomes, most)
    }

    /// The attempts were counted as they were committed; of a locator tried twice the last is what counts.
    async fn finish(&mut self, snapshot: &Snapshot, report: &mut StageReport) -> Result<()> {
        if let Some(first_seq) = self.first_seq.filter(|_| report.commits > 0) {
            report.rejected = outcomes(snapshot, first_seq).await?;
        }
        report.rows_out = report.rejected.remove("ok").unwrap_or(0);
        report.known = report.rejected.remove(FetchOutcome::NotModified.name()).unwrap_or(0);
        if report.rejected.contains_key("private_host") {
            report.hints.push(
                "addresses that are not public were not asked; --allow-private-hosts asks them"
                    .to_owned(),
            );
        }
        let n_later: u64 = FetchOutcome::may_pass()
            .filter_map(|outcome| report.rejected.get(outcome.name()))
            .sum();
        if n_later > 0 {
            report.hints.push(format!(
                "{n_later} failed for a reason that may pass; later runs ask again when their time has come (the view hosts says whose they are)"
            ));
        }
        let n_done = report.rows_out + report.known + report.n_rejected();
        if self.stop.is_cancelled() && n_done < report.rows_in {
            report.hints.push(format!(
                "{} were not asked for yet; the same command goes on",
                report.rows_in - n_done
            ));
        }
        Ok(())
    }
}
