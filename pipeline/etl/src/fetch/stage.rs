//! The stage: locators in, attempts out, chunks committed. Requests go on while a chunk is written.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use chrono::Utc;
use datafusion::prelude::col;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tuwen_corpus::report::{Progress, StageReport};
use tuwen_corpus::{
    Corpus, LastRun, NewFiles, Run, Scratch, Snapshot, seeking_session, spilling_session,
};
use tuwen_settings::{FetchSettings, WrongSetting};

use crate::driver::{self, Chunk, RedGate, Stage};
use crate::fetch::chunk::AttemptsChunk;
use crate::fetch::crawl::{Crawl, Crawled};
use crate::fetch::getter::Getter;
use crate::fetch::headers::OwnHeaders;
use crate::fetch::last_attempts::{Answered, outcomes};
use crate::fetch::metrics::Metrics;
use crate::fetch::origin::Origin;
use crate::fetch::outage::Outage;
use crate::fetch::retry::Retry;
use crate::fetch::todo::{TodoQuery, asks, is_due, left_alone};
use crate::fetch::waves::Waves;
use crate::fetch::{Attempt, FetchOutcome};

/// Attempts in one commit at most, however small they are.
const CHUNK_ATTEMPTS: usize = 20_000;

/// Locators that may be asked for without saying who asks: a try.
const LOCATORS_OF_A_TRY: u64 = 10_000;

/// Machines that run jobs on one corpus may disagree so much about the time.
const CLOCKS_DIFFER_US: i64 = 3_600_000_000;

/// A chunk's rows get this part of `fetch.memory_limit`.
const CHUNK_PART: u64 = 10;

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
    let stage = match Scratch::of(corpus).await {
        Ok(scratch) => Fetch::new(origin, settings, max_rejected_percent, scratch, stop),
        Err(error) => Err(error),
    };
    let (stage, _metrics) = match stage {
        Ok(stage) => {
            let tally = Arc::clone(&stage.crawl.tally);
            match Metrics::serve(&settings.metrics, tally).await {
                Ok(metrics) => (Ok(stage), metrics),
                Err(error) => (Err(error), None),
            }
        }
        Err(error) => (Err(error), None),
    };
    driver::run(corpus, stage, stop).await
}

/// Checks, before any work, what only fetch knows of `settings`.
///
/// # Errors
/// [`WrongSetting`]: an outcome that is none; a file of headers that is none.
pub fn check(settings: &FetchSettings) -> Result<()> {
    Retry::of(settings).map_err(WrongSetting::of)?;
    OwnHeaders::read(&settings.headers).map_err(WrongSetting::of)?;
    Ok(())
}

struct Fetch<'a> {
    crawl: Crawl,
    from_files: bool,
    settings: &'a FetchSettings,
    chunk_bytes: u64,
    retry: Retry,
    scratch: Scratch,
    /// From when on the times of next tries are looked at.
    due_since_us: Option<i64>,
    /// Where in the log of attempts those of this run begin.
    first_seq: Option<i64>,
    /// The latest time, within what a run waits for, at which something is to be tried again.
    next_pass: Option<Instant>,
    max_rejected_percent: Option<f64>,
    /// On a cluster, in the place of the crawl.
    waves: Option<Waves>,
    stop: &'a CancellationToken,
}

impl<'a> Fetch<'a> {
    fn new(
        origin: Origin,
        settings: &'a FetchSettings,
        max_rejected_percent: Option<f64>,
        scratch: Scratch,
        stop: &'a CancellationToken,
    ) -> Result<Self> {
        let from_files = matches!(origin, Origin::Folder(_));
        let told = origin.clone();
        let getter = Arc::new(Getter::new(origin, settings)?);
        let crawl = Crawl::new(getter, settings, from_files, Outage::new(false), 1, stop.clone());
        let tally = Arc::clone(&crawl.tally);
        Ok(Self {
            from_files,
            crawl,
            settings,
            chunk_bytes: settings.chunk_bytes.min(settings.memory_limit / CHUNK_PART),
            retry: Retry::of(settings)?,
            due_since_us: None,
            first_seq: None,
            next_pass: None,
            max_rejected_percent,
            waves: scratch.is_shared().then(|| Waves::new(told, settings, tally)),
            scratch,
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

    /// When the next pass begins, if nothing is left to be asked for before: what is due by then is asked for with that.
    fn take_next_pass(&mut self) -> Option<Instant> {
        let is_left = self.waves.as_ref().is_some_and(|waves| waves.is_left);
        self.next_pass.take_if(|_| !is_left)
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
            if self.waves.is_none() {
                self.crawl.leave_alone(&left_alone(snapshot).await?);
            }
        }
        if let Some(next_pass) = self.take_next_pass() {
            tracing::info!(
                "waiting {} s for what is to be tried again",
                next_pass.saturating_duration_since(Instant::now()).as_secs()
            );
            sleep_until(next_pass).await;
        }
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
        if let Some(waves) = &mut self.waves {
            waves.begin(snapshot, &ctx, &self.scratch, n_rows, self.stop).await?;
            return Ok(Some(n_rows));
        }
        let todo = ctx.table("todo").await?.sort_by(vec![col("place")])?;
        self.crawl.begin(asks(todo.execute_stream().await?));
        Ok(Some(n_rows))
    }

    async fn next_chunk(
        &mut self,
        snapshot: &Snapshot,
        progress: &Progress,
        _report: &mut StageReport,
    ) -> Result<Option<Chunk>> {
        if let Some(waves) = &mut self.waves {
            let next = waves.next(snapshot, progress, self.stop).await?;
            self.next_pass = self.next_pass.max(waves.next_pass.take());
            return Ok(next.map(Chunk::Computed));
        }
        let mut chunk = AttemptsChunk::default();
        let mut until = None;
        while chunk.bytes < self.chunk_bytes && chunk.n_attempts < CHUNK_ATTEMPTS {
            match self.crawl.next(until, Answered::Table(snapshot)).await? {
                Crawled::Attempt(attempt) => {
                    let commit_secs = Duration::from_secs(self.settings.commit_secs);
                    until.get_or_insert(Instant::now() + commit_secs);
                    progress.add(1);
                    progress.say(|| self.crawl.tally.figures());
                    self.note_next_try(&attempt);
                    chunk.push(*attempt)?;
                }
                Crawled::Nothing | Crawled::Ended => break,
            }
        }
        if chunk.n_attempts == 0 {
            return self.crawl.failure().map_or(Ok(None), Err);
        }
        Ok(Some(Chunk::Rows(chunk.rows().await?)))
    }

    fn again(&self) -> bool {
        let is_left = self.waves.as_ref().is_some_and(|waves| waves.is_left);
        self.next_pass.is_some() || self.crawl.n_left > 0 || is_left
    }

    fn stop(&mut self) {
        self.crawl.stop();
        if let Some(waves) = &mut self.waves {
            waves.stop();
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
        let n_done = report.n_handled();
        if self.stop.is_cancelled() && n_done < report.rows_in {
            report.hints.push(format!(
                "{} were not asked for yet; the same command goes on",
                report.rows_in - n_done
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_left_is_asked_for_before_a_next_try_is_waited_for() {
        let (settings, stop) = (FetchSettings::default(), CancellationToken::new());
        let (origin, scratch) = (Origin::Folder(std::env::temp_dir()), Scratch::new().unwrap());
        let mut fetch = Fetch::new(origin.clone(), &settings, None, scratch, &stop).unwrap();
        let mut waves = Waves::new(origin, &settings, Arc::clone(&fetch.crawl.tally));
        waves.is_left = true;
        fetch.waves = Some(waves);
        fetch.next_pass = Some(Instant::now());
        assert_eq!(fetch.take_next_pass(), None);
        assert!(fetch.again());
        if let Some(waves) = &mut fetch.waves {
            waves.is_left = false;
        }
        assert!(fetch.take_next_pass().is_some());
        assert!(!fetch.again());
    }
}
