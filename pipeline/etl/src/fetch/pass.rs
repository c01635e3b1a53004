//! One pass of a crawl. In: what is to be asked for. Out: attempts as they end. One task starts the requests, in the order that `queues.rs`
//! gives, and is the only one that knows the queues. Stops by its token: then nothing more is begun, and what is under way has a moment to
//! end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tuwen_settings::FetchSettings;

use crate::fetch::attempt::{Ask, Failure, Trace};
use crate::fetch::budget::Held;
use crate::fetch::getter::Getter;
use crate::fetch::host::{Verdict, origin};
use crate::fetch::queues::{Pushed, Queues};
use crate::fetch::slot::Slot;
use crate::fetch::{Attempt, FetchOutcome};

/// What is under way has so long to end when nothing more is wanted; it is asked for again another time.
const GRACE: Duration = Duration::from_secs(5);

/// Attempts for each slot: most of them wait for a place at an address that many domains have.
const TASKS_PER_SLOT: usize = 32;

/// An attempt that has ended.
pub(super) struct Arrived {
    pub(super) attempt: Attempt,
    pub(super) host: Arc<str>,
    /// The memory of its bytes, until somebody else accounts for them.
    _held: Held,
}

impl Arrived {
    /// One that holds no memory.
    pub(super) fn new(attempt: Attempt, host: Arc<str>) -> Self {
        Self { attempt, host, _held: Held::default() }
    }
}

struct Ended {
    host: Arc<str>,
    locator: String,
    began: Instant,
    verdict: Verdict,
    delay: Option<Duration>,
}

/// A pass under way.
struct Pass<'a> {
    getter: &'a Arc<Getter>,
    sender: &'a mpsc::Sender<Arrived>,
    queues: Queues,
    slots: Arc<Semaphore>,
    under_way: JoinSet<Ended>,
    n_left: u64,
}

/// What a pass leaves.
pub(super) struct Rest {
    /// What is known of the hosts.
    pub(super) queues: Queues,
    /// How much was not asked for because too much waits for its host.
    pub(super) n_left: u64,
}

/// Asks for all of `todo` and hands each attempt to `sender` as it ends. `queues` are those of the pass before, empty.
///
/// # Errors
/// `todo` cannot be read.
pub(super) async fn run(
    mut todo: impl Stream<Item = Result<Ask>> + Unpin,
    getter: Arc<Getter>,
    settings: &FetchSettings,
    queues: Option<Queues>,
    sender: mpsc::Sender<Arrived>,
    stop: CancellationToken,
) -> Result<Rest> {
    let concurrency = settings.concurrency;
    let longest_wait = Duration::from_secs(settings.longest_wait_secs);
    let mut pass = Pass {
        getter: &getter,
        sender: &sender,
        queues: queues.unwrap_or_else(|| new_queues(&getter, settings)),
        slots: Arc::new(Semaphore::new(concurrency)),
        under_way: JoinSet::new(),
        n_left: 0,
    };
    let mut is_read = false;
    while !stop.is_cancelled() {
        let now = Instant::now();
        while pass.under_way.len() < TASKS_PER_SLOT * concurrency
            && pass.queues.has_turn(now)
            && let Ok(permit) = Arc::clone(&pass.slots).try_acquire_owned()
        {
            pass.start(permit, now);
        }
        let wake = pass.queues.next_turn();
        let has_room = !is_read && pass.queues.has_room(now);
        if !has_room && pass.under_way.is_empty() && !pass.queues.has_turn(now) {
            match wake {
                None if is_read => break,
                // Nothing is left to wait for but hosts that want to be left alone for long, and hosts whose requests keep a distance.
                Some(wake) if wake > now + longest_wait => {
                    if pass.give_up(now, now + longest_wait).await {
                        continue;
                    }
                }
                None | Some(_) => {}
            }
        }
        let can_start =
            pass.queues.has_turn(now) && pass.under_way.len() < TASKS_PER_SLOT * concurrency;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = pass.under_way.join_next() => {
                pass.ended(ended.context("an attempt panicked")?).await;
            }
            next = todo.next(), if has_room => match next {
                Some(ask) => pass.take(ask?).await,
                None => is_read = true,
            },
            permit = Arc::clone(&pass.slots).acquire_owned(), if can_start => {
                pass.start(permit.context("the slots are closed")?, Instant::now());
            }
            () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
        }
    }
    let end = async { while pass.under_way.join_next().await.is_some() {} };
    // What has not ended by then is dropped, and was never asked for as far as the log knows.
    let _ = timeout(GRACE, end).await;
    // What was not begun is asked for by a later run.
    pass.queues.clear();
    Ok(Rest { queues: pass.queues, n_left: pass.n_left })
}

/// Queues of a crawl that has asked for nothing yet.
pub(super) fn new_queues(getter: &Getter, settings: &FetchSettings) -> Queues {
    match getter {
        Getter::Http(_) => Queues::new(settings.per_host, settings.requests_per_sec),
        Getter::Folder { .. } => Queues::of_folder(settings.concurrency),
    }
}

impl Pass<'_> {
    async fn take(&mut self, ask: Ask) {
        let host = self.getter.host(&ask.locator);
        match self.queues.push(&host, ask, Instant::now()) {
            Pushed::Waits => {}
            Pushed::Down(ask) => self.not_made(ask, &Arc::from(host), None).await,
            Pushed::Left => self.n_left += 1,
        }
    }

    fn start(&mut self, permit: OwnedSemaphorePermit, now: Instant) {
        let Some((host, ask)) = self.queues.next(now) else { return };
        let slot = Slot::new(Arc::clone(&self.slots), permit);
        let (getter, sender) = (Arc::clone(self.getter), self.sender.clone());
        self.under_way.spawn(async move {
            let attempt = AssertUnwindSafe(getter.attempt(ask.clone(), slot)).catch_unwind().await;
            // A bug, which costs one picture and not the crawl; the panic has been printed.
            let (attempt, held) = attempt.unwrap_or_else(|_panic| {
                let failure = Failure::new(FetchOutcome::Broken, "the attempt panicked");
                (
                    Attempt::ended(ask, now.elapsed(), Trace::default(), Err(failure)),
                    Held::default(),
                )
            });
            let (verdict, delay) = (verdict(&attempt), attempt.trace.delay.flatten());
            let locator = attempt.locator.clone();
            let ended = Ended { host: Arc::clone(&host), locator, began: now, verdict, delay };
            // The stage hangs up only when it failed; its error is the one to report.
            let _ = sender.send(Arrived { attempt, host, _held: held }).await;
            ended
        });
    }

    async fn ended(&mut self, ended: Ended) {
        let Ended { host, locator, began, verdict, delay } = ended;
        let now = Instant::now();
        let given_back = self.queues.ended(&host, origin(&locator), began, verdict, delay, now);
        for ask in given_back {
            self.not_made(ask, &host, None).await;
        }
    }

    /// Leaves what waits for hosts that want to be left alone beyond `latest`; whether there are any.
    async fn give_up(&mut self, now: Instant, latest: Instant) -> bool {
        let given_up = self.queues.give_up(latest);
        let is_any = !given_up.is_empty();
        for (ask, until) in given_up {
            let host = Arc::from(self.getter.host(&ask.locator));
            let left = until.saturating_duration_since(now);
            self.not_made(ask, &host, Some(left)).await;
        }
        is_any
    }

    async fn not_made(&self, ask: Ask, host: &Arc<str>, until: Option<Duration>) {
        let arrived = Arrived::new(Attempt::not_made(ask, until), Arc::clone(host));
        let _ = self.sender.send(arrived).await;
    }
}

/// What an attempt says of its host.
fn verdict(attempt: &Attempt) -> Verdict {
    let trace = &attempt.trace;
    let has_led_on = trace.final_url.is_some() || trace.http_status.is_some_and(is_redirection);
    match attempt.outcome() {
        _ if attempt.result.as_ref().is_err_and(|failure| failure.is_own) => Verdict::Neutral,
        // What is wrong where a redirect leads is not the host's own.
        _ if has_led_on => Verdict::Answered,
        FetchOutcome::RateLimited => Verdict::Limited(attempt.trace.retry_after),
        FetchOutcome::ServerError | FetchOutcome::RobotsUnavailable => Verdict::Struggling,
        // A name may be unknown while its neighbours are not.
        FetchOutcome::UnknownHost
        | FetchOutcome::PrivateHost
        | FetchOutcome::BadUrl
        | FetchOutcome::TooManyRedirects => Verdict::Neutral,
        // A host that never says anything but a broken head is no host to wait for either; one that stops within a body is slow.
        outcome if outcome.is_silence() && trace.http_status.is_none() => Verdict::Silent,
        _ => Verdict::Answered,
    }
}

fn is_redirection(status: u16) -> bool {
    (300..400).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::attempt::Validators;

    #[test]
    fn a_host_is_not_blamed_for_where_it_leads() {
        let verdict_of = |outcome, http_status, final_url: Option<&str>| {
            let locator = "http://a/1".to_owned();
            let ask = Ask { locator, attempt: 1, n_tries: 1, known: Validators::default() };
            let final_url = final_url.map(str::to_owned);
            let trace = Trace { http_status, final_url, ..Trace::default() };
            let failure = Failure::new(outcome, "");
            verdict(&Attempt::ended(ask, Duration::ZERO, trace, Err(failure)))
        };
        let (limited, elsewhere) = (FetchOutcome::RateLimited, Some("http://b/1"));
        for (outcome, http_status, final_url, expected) in [
            (FetchOutcome::Connect, None, None, Verdict::Silent),
            (FetchOutcome::Connect, Some(302), None, Verdict::Answered),
            (FetchOutcome::Timeout, Some(200), None, Verdict::Answered),
            (limited, Some(429), None, Verdict::Limited(None)),
            (limited, None, None, Verdict::Limited(None)),
            (limited, Some(429), elsewhere, Verdict::Answered),
            // By the other host's robots.txt.
            (limited, Some(302), None, Verdict::Answered),
            (FetchOutcome::ServerError, Some(500), None, Verdict::Struggling),
            (FetchOutcome::ServerError, Some(500), elsewhere, Verdict::Answered),
        ] {
            assert_eq!(verdict_of(outcome, http_status, final_url), expected, "{outcome}");
        }
    }
}
