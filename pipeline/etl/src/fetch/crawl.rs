//! A crawl, pass after pass, and what of the answers can be believed. In: what is to be asked for. Out: attempts, as they can be written
//! down. Never writes any.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use chrono::Utc;
use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tuwen_settings::FetchSettings;

use crate::fetch::Attempt;
use crate::fetch::attempt::{Ask, Failure};
use crate::fetch::getter::Getter;
use crate::fetch::last_attempts::Answered;
use crate::fetch::open_files;
use crate::fetch::outage::{NoAnswer, Outage};
use crate::fetch::pass::{self, Arrived, Rest};
use crate::fetch::queues::Queues;
use crate::fetch::tally::Tally;

/// Attempts that wait for the writer, so that requests go on while a chunk is committed. Their bytes are in the budget of bodies.
const WAITING_ATTEMPTS: usize = 8192;

/// Hosts that do not answer are asked once more after so long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A crawl, of one pass after the other.
pub(super) struct Crawl {
    getter: Arc<Getter>,
    settings: FetchSettings,
    pass: Option<RunningPass>,
    /// What is known of the hosts, between two passes.
    queues: Option<Queues>,
    outage: Box<Outage>,
    pub(super) tally: Arc<Tally>,
    /// Attempts that can be believed and that nobody has taken yet.
    believed: VecDeque<Attempt>,
    /// What ends the run after the chunk under way.
    failure: Option<anyhow::Error>,
    /// How much was not asked for because too much waits for its host.
    pub(super) n_left: u64,
    /// Ends the run.
    stop: CancellationToken,
}

/// A pass under way.
struct RunningPass {
    arrived: mpsc::Receiver<Arrived>,
    task: JoinHandle<Result<Rest>>,
    /// Ends the pass.
    stop: CancellationToken,
}

impl Drop for RunningPass {
    /// A stage that fails asks nothing more.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What [`Crawl::next`] brings.
pub(super) enum Crawled {
    Attempt(Box<Attempt>),
    /// Nothing in time.
    Nothing,
    /// There is nothing more.
    Ended,
}

impl Crawl {
    /// One that has nothing to ask for, of `n_crawls` in this process; it cancels `stop` when its budget of bytes is spent.
    pub(super) fn new(
        getter: Arc<Getter>,
        settings: &FetchSettings,
        from_files: bool,
        outage: Outage,
        n_crawls: usize,
        stop: CancellationToken,
    ) -> Self {
        let most_requests = (open_files::most_requests() / n_crawls).max(1);
        if settings.concurrency > most_requests {
            tracing::warn!(
                "fetch.concurrency is {}, the limit of open files lets {most_requests} requests be under way",
                settings.concurrency
            );
        }
        Self {
            getter,
            settings: FetchSettings {
                concurrency: settings.concurrency.min(most_requests),
                ..settings.clone()
            },
            pass: None,
            queues: None,
            outage: Box::new(outage),
            tally: Arc::new(Tally::new(from_files)),
            believed: VecDeque::new(),
            failure: None,
            n_left: 0,
            stop,
        }
    }

    /// Takes it that these hosts want to be left alone until then, in microseconds since 1970.
    pub(super) fn leave_alone(&mut self, hosts: &[(String, i64)]) {
        let new = || pass::new_queues(&self.getter, &self.settings);
        let (queues, now) = (self.queues.get_or_insert_with(new), Instant::now());
        let now_us = Utc::now().timestamp_micros();
        for (host, until_us) in hosts {
            let wait_us = u64::try_from(until_us - now_us).unwrap_or(0);
            queues.leave_alone(host, now + Duration::from_micros(wait_us));
        }
    }

    /// Begins a pass over `todo`.
    pub(super) fn begin(&mut self, todo: impl Stream<Item = Result<Ask>> + Send + Unpin + 'static) {
        self.n_left = 0;
        let (sender, arrived) = mpsc::channel(WAITING_ATTEMPTS);
        let stop = self.stop.child_token();
        let (getter, settings) = (Arc::clone(&self.getter), self.settings.clone());
        let (queues, token) = (self.queues.take(), stop.clone());
        let pass = async move { pass::run(todo, getter, &settings, queues, sender, token).await };
        self.pass = Some(RunningPass { arrived, task: tokio::spawn(pass), stop });
    }

    /// The next attempt that can be believed, if it comes before `until`. `answered` says whose hosts answered last, for when
    /// no host does any more.
    pub(super) async fn next(
        &mut self,
        until: Option<Instant>,
        answered: Answered<'_>,
    ) -> Result<Crawled> {
        loop {
            if let Some(attempt) = self.believed.pop_front() {
                return Ok(Crawled::Attempt(Box::new(attempt)));
            }
            let Some(pass) = &mut self.pass else { return Ok(Crawled::Ended) };
            let next = pass.arrived.recv();
            let next = match until {
                Some(until) => match timeout_at(until, next).await {
                    Ok(next) => next,
                    Err(_elapsed) => return Ok(Crawled::Nothing),
                },
                None => next.await,
            };
            let at_end = next.is_none();
            if let Some(arrived) = next {
                self.take(arrived);
            }
            if self.outage.is_suspicious(at_end) {
                self.ask_witnesses(answered, at_end).await;
            }
            if at_end {
                self.end().await?;
            }
        }
    }

    fn take(&mut self, arrived: Arrived) {
        if let Err(Failure { is_own: true, detail, .. }) = &arrived.attempt.result {
            let error = anyhow!(
                "no more requests can be under way: {detail}\n\
                 hint: a smaller fetch.concurrency, or a higher limit of open files (ulimit -n)"
            );
            return self.fail(error);
        }
        self.tally.count(&arrived.attempt, &arrived.host);
        let budget = self.settings.byte_budget;
        if budget > 0 && self.tally.brought_bytes() >= budget && !self.stop.is_cancelled() {
            tracing::warn!("fetch.byte_budget is spent: stopping after the chunk under way");
            self.stop.cancel();
        }
        match self.failure {
            // Nothing that was not answered is believed any more.
            Some(_) if !arrived.attempt.trace.was_answered => {}
            Some(_) => self.believed.push_back(arrived.attempt),
            None => self.believed.extend(self.outage.take(arrived)),
        }
    }

    async fn ask_witnesses(&mut self, answered: Answered<'_>, at_end: bool) {
        let FetchSettings { connect_timeout_secs, first_byte_timeout_secs, .. } = self.settings;
        // An answer may take so long, and so may a network that is away for a moment.
        let patience = Duration::from_secs(connect_timeout_secs + first_byte_timeout_secs);
        let mut witnesses = self.outage.witnesses();
        // Those of this run may be of the silent hosts themselves.
        if witnesses.is_empty() || self.outage.is_alone(&witnesses) {
            match answered.locators().await {
                Ok(answered) => witnesses.extend(answered),
                Err(error) => self.fail(error),
            }
        }
        if witnesses.is_empty() && !at_end && self.outage.is_patient(patience) {
            return;
        }
        let is_alone = self.outage.is_alone(&witnesses);
        let has_answer = answers(&self.getter, &witnesses, patience, &self.stop).await;
        if has_answer || is_alone {
            self.believed.extend(self.outage.trust(has_answer));
        } else {
            let text = self.outage.describe();
            let text = format!(
                "{text}; none of these attempts is recorded\n\
                 hint: run the command again when the network is there"
            );
            self.fail(NoAnswer(text).into());
        }
    }

    async fn end(&mut self) -> Result<()> {
        self.believed.extend(self.outage.believe());
        let Some(mut pass) = self.pass.take() else { return Ok(()) };
        let rest = (&mut pass.task).await.context("the task that asks panicked");
        match rest.and_then(|rest| rest) {
            Ok(rest) => {
                self.n_left += rest.n_left;
                self.queues = Some(rest.queues);
            }
            Err(error) => self.fail(error),
        }
        Ok(())
    }

    /// Ends the run by `error`, after what came is written down.
    fn fail(&mut self, error: anyhow::Error) {
        self.failure.get_or_insert(error);
        self.stop();
    }

    /// Begins nothing more.
    pub(super) fn stop(&self) {
        if let Some(pass) = &self.pass {
            pass.stop.cancel();
        }
    }

    /// What ended the run, to be told after all that came.
    pub(super) fn failure(&mut self) -> Option<anyhow::Error> {
        self.failure.take()
    }
}

/// Whether one of `witnesses` answers within `patience`, or until `stop`.
async fn answers(
    getter: &Getter,
    witnesses: &[String],
    patience: Duration,
    stop: &CancellationToken,
) -> bool {
    let until = Instant::now() + patience;
    loop {
        if getter.answers(witnesses).await {
            return true;
        }
        if witnesses.is_empty() || stop.is_cancelled() || Instant::now() >= until {
            return false;
        }
        tokio::select! {
            () = sleep(ASK_AGAIN) => {}
            () = stop.cancelled() => {}
        }
    }
}
