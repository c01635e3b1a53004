//! A crawl: requests under way, and what of their answers can be believed. In: what is to be asked for. Out: attempts, as they can be
//! written down. Never writes any.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use futures::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tuwen_settings::FetchSettings;

use crate::fetch::Attempt;
use crate::fetch::asking::{self, Arrived, Rest};
use crate::fetch::attempt::Ask;
use crate::fetch::getter::Getter;
use crate::fetch::outage::Outage;
use crate::fetch::queues::Queues;
use crate::fetch::tally::Tally;
use crate::fetch::told::Answered;

/// Attempts that wait for the writer, so that requests go on while a chunk is committed. Their bytes are in the budget of bodies.
const WAITING_ATTEMPTS: usize = 8192;

/// A crawl, of one pass after the other.
pub(super) struct Crawl {
    getter: Arc<Getter>,
    settings: FetchSettings,
    asking: Option<Asking>,
    /// What is known of the hosts, between two passes.
    queues: Option<Queues>,
    outage: Outage,
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

/// What [`Crawl::next`] brings.
pub(super) enum Crawled {
    Attempt(Box<Attempt>),
    /// Nothing in time.
    Nothing,
    /// There is nothing more.
    Ended,
}

impl Crawl {
    /// One that has nothing to ask for; it cancels `stop` when its budget of bytes is spent.
    pub(super) fn new(
        getter: Arc<Getter>,
        settings: &FetchSettings,
        from_files: bool,
        stop: CancellationToken,
    ) -> Self {
        Self {
            getter,
            settings: settings.clone(),
            asking: None,
            queues: None,
            outage: Outage::default(),
            tally: Arc::new(Tally::new(from_files)),
            believed: VecDeque::new(),
            failure: None,
            n_left: 0,
            stop,
        }
    }

    /// Begins a pass over `todo`.
    pub(super) fn begin(&mut self, todo: impl Stream<Item = Result<Ask>> + Send + Unpin + 'static) {
        self.n_left = 0;
        let (sender, arrived) = mpsc::channel(WAITING_ATTEMPTS);
        let stop = self.stop.child_token();
        let (getter, settings) = (Arc::clone(&self.getter), self.settings.clone());
        let (queues, token) = (self.queues.take(), stop.clone());
        let asking =
            async move { asking::ask(todo, getter, &settings, queues, sender, token).await };
        self.asking = Some(Asking { arrived, task: tokio::spawn(asking), stop });
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
            let Some(asking) = &mut self.asking else { return Ok(Crawled::Ended) };
            let next = asking.arrived.recv();
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
                self.ask_witnesses(answered).await;
            }
            if at_end {
                self.end().await?;
            }
        }
    }

    fn take(&mut self, arrived: Arrived) {
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

    async fn ask_witnesses(&mut self, answered: Answered<'_>) {
        let mut witnesses = self.outage.witnesses();
        if witnesses.is_empty() {
            match answered.locators().await {
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

    async fn end(&mut self) -> Result<()> {
        self.believed.extend(self.outage.believe());
        let Some(mut asking) = self.asking.take() else { return Ok(()) };
        let rest = (&mut asking.task).await.context("the task that asks panicked");
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
        if let Some(asking) = &self.asking {
            asking.stop.cancel();
        }
    }

    /// What ended the run, to be told after all that came.
    pub(super) fn failure(&mut self) -> Option<anyhow::Error> {
        self.failure.take()
    }
}
