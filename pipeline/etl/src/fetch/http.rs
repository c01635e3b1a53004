//! URLs over HTTP. In: a URL. Out: the body of a 200 answer, or why not. Never asks a private address unless told to, never what
//! robots.txt forbids, never more of a host at once than it has places, never reads more than `fetch.max_bytes`, and never waits
//! longer than the time limits.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use moka::future::Cache;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{StatusCode, Url};
use tokio::sync::Semaphore;
use tuwen_settings::FetchSettings;

use crate::fetch::FetchOutcome;
use crate::fetch::answer::{is_picture, redirect, refusal};
use crate::fetch::attempt::{Ask, Failure, Trace, Validators};
use crate::fetch::body::{Bodies, Body};
use crate::fetch::clock::Clock;
use crate::fetch::requests::{Answer, Requests, Wanted};
use crate::fetch::robots::{MOST_ROBOTS_BYTES, Robots, disallowed_directive};
use crate::fetch::slot::Slot;

/// How long a robots.txt is kept to before it is asked for again.
const ROBOTS_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Memory for robots.txt of hosts, in bytes.
const ROBOTS_BYTES: u64 = 64 << 20;

/// A robots.txt that answers 5xx is asked for again after so long.
const UNAVAILABLE_LIFE: Duration = Duration::from_secs(300);

const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// Why a robots.txt could not be asked for: it is told to all that wait for it.
struct NoRobots {
    failure: Failure,
    was_answered: bool,
    /// How long the host wants not to be asked.
    retry_after: Option<Duration>,
}

/// A client for crawls.
pub(super) struct Http {
    requests: Requests,
    bodies: Bodies,
    robots: Cache<String, Arc<Robots>>,
    /// What robots.txt and X-Robots-Tag call us.
    product: String,
    settings: FetchSettings,
}

impl Http {
    /// `body_bytes` is the memory for bodies under way.
    ///
    /// # Errors
    /// As [`Requests::new`].
    pub(super) fn new(settings: &FetchSettings, body_bytes: u64) -> Result<Self> {
        Ok(Self {
            requests: Requests::new(settings)?,
            bodies: Bodies::new(settings, body_bytes),
            robots: Cache::builder()
                .weigher(|_: &String, robots: &Arc<Robots>| robots.weight())
                .max_capacity(ROBOTS_BYTES)
                .time_to_live(ROBOTS_LIFE)
                .build(),
            product: product(&settings.user_agent).to_owned(),
            settings: settings.clone(),
        })
    }

    /// The body of a 200 answer that is a picture.
    pub(super) async fn get(
        &self,
        ask: &Ask,
        slot: &mut Slot,
        trace: &mut Trace,
    ) -> Result<Body, Failure> {
        let url =
            Url::parse(&ask.locator).map_err(|error| Failure::new(FetchOutcome::BadUrl, error))?;
        let mut clock = Clock::start(Duration::from_secs(self.settings.timeout_secs));
        let answer = self.follow(url, Some(&ask.known), &mut clock, slot, trace).await?;
        if answer.response.status() != StatusCode::OK {
            return Err(refusal(&answer.response, ask.known != Validators::default(), trace));
        }
        self.keep_to_tags(answer.response.headers())?;
        let body = self.bodies.whole(&self.requests, answer, &mut clock, slot, trace).await?;
        if let Some(headers) = &body.restarted {
            self.keep_to_tags(headers)?;
        }
        is_picture(&body.bytes)?;
        Ok(body)
    }

    /// Whether `url`'s host answers anything at all.
    pub(super) async fn answers(&self, url: &Url) -> bool {
        self.requests.answers(url).await
    }

    /// The answer at the end of the redirects. `known` is there for a picture: then robots.txt is kept to on the way.
    async fn follow(
        &self,
        mut url: Url,
        known: Option<&Validators>,
        clock: &mut Clock,
        slot: &mut Slot,
        trace: &mut Trace,
    ) -> Result<Answer, Failure> {
        for n_redirects in 0..=self.settings.max_redirects {
            self.requests.check(&url)?;
            if known.is_some() && self.settings.robots {
                self.keep_to_robots(&url, clock, slot, trace).await?;
            }
            let wanted = known.map_or(Wanted::Whole, Wanted::Other);
            let answer = self.requests.ask(url.clone(), wanted, clock, slot, trace).await?;
            if known.is_some() {
                trace.note(&answer.response, (n_redirects > 0).then_some(&url));
            }
            let Some(next) = redirect(&answer.response, &url)? else { return Ok(answer) };
            url = next;
        }
        let detail = format!("more than {} redirects", self.settings.max_redirects);
        Err(Failure::new(FetchOutcome::TooManyRedirects, detail))
    }

    fn keep_to_tags(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let tags = headers.get_all(X_ROBOTS_TAG).iter().filter_map(|tag| tag.to_str().ok());
        let ignored = &self.settings.ignored_directives;
        let directive = disallowed_directive(tags, ignored, &self.product);
        directive.map_or(Ok(()), |directive| {
            Err(Failure::new(FetchOutcome::OptedOut, format!("X-Robots-Tag: {directive}")))
        })
    }

    async fn keep_to_robots(
        &self,
        url: &Url,
        clock: &mut Clock,
        slot: &mut Slot,
        trace: &mut Trace,
    ) -> Result<(), Failure> {
        let origin = url.origin().ascii_serialization();
        let is_fresh = |robots: &Arc<Robots>| match &**robots {
            Robots::Unavailable { since, .. } => since.elapsed() < UNAVAILABLE_LIFE,
            _ => true,
        };
        let robots = match self.robots.get(&origin).await.filter(is_fresh) {
            Some(robots) => robots,
            None => {
                self.robots.invalidate(&origin).await;
                // One of those that wait for it asks, in a slot of its own: no slot is held by who only waits.
                let (slots, mut own) = (slot.all(), Trace::default());
                let asked = Box::pin(self.ask_robots(&origin, slots, &mut own));
                let robots = self.robots.try_get_with(origin.clone(), asked);
                let robots = clock.excused(slot.away(robots)).await;
                // The wire bytes are those of the attempt that asked; the status and the headers are no attempt's.
                trace.wire_bytes += own.wire_bytes;
                trace.was_answered |= own.was_answered;
                robots.map_err(|none| {
                    trace.was_answered |= none.was_answered;
                    trace.retry_after = none.retry_after;
                    none.failure.clone()
                })?
            }
        };
        // The first is of the host whose turn it is.
        trace.delay = trace.delay.or(Some(robots.delay()));
        if let Robots::Unavailable { detail, .. } = &*robots {
            return Err(Failure::new(FetchOutcome::RobotsUnavailable, detail));
        }
        if robots.allow(url.as_str()) {
            return Ok(());
        }
        Err(Failure::new(FetchOutcome::RobotsDisallowed, format!("robots.txt of {url}")))
    }

    /// Asks for the robots.txt of `origin`, for all that wait for it: in a slot of `slots`, and within the time that one request has,
    /// whatever time any of them has left.
    async fn ask_robots(
        &self,
        origin: &str,
        slots: Arc<Semaphore>,
        own: &mut Trace,
    ) -> Result<Arc<Robots>, NoRobots> {
        let mut slot = Slot::take(slots).await;
        let mut clock = Clock::start(Duration::from_secs(self.settings.timeout_secs));
        let robots = self.read_robots(origin, &mut clock, &mut slot, own).await;
        robots.map(Arc::new).map_err(|failure| {
            let is_limited = failure.outcome == FetchOutcome::RateLimited;
            let retry_after = own.retry_after.filter(|_| is_limited);
            NoRobots { failure, was_answered: own.was_answered, retry_after }
        })
    }

    async fn read_robots(
        &self,
        origin: &str,
        clock: &mut Clock,
        slot: &mut Slot,
        own: &mut Trace,
    ) -> Result<Robots, Failure> {
        let url = Url::parse(&format!("{origin}/robots.txt"))
            .map_err(|error| Failure::new(FetchOutcome::BadUrl, error))?;
        let answer = self.follow(url, None, clock, slot, own).await;
        let answer = match answer {
            Ok(answer) => answer,
            // It leads to none, as if there were none.
            Err(failure) if failure.outcome.is_of_url() && own.was_answered => {
                return Ok(Robots::AllAllowed);
            }
            Err(failure) => return Err(failure),
        };
        let status = answer.response.status();
        let refusal = refusal(&answer.response, false, own);
        match refusal.outcome {
            FetchOutcome::RateLimited => return Err(refusal),
            FetchOutcome::ServerError => {
                return Ok(Robots::unavailable(format!("robots.txt: {status}")));
            }
            _ => {}
        }
        if !status.is_success() {
            return Ok(Robots::AllAllowed);
        }
        let text = self.bodies.bounded(answer.response, MOST_ROBOTS_BYTES, clock, own).await;
        let text = match text {
            Err(failure) if failure.outcome == FetchOutcome::Broken && !failure.is_own => {
                return Ok(Robots::unavailable(format!("robots.txt: {}", failure.detail)));
            }
            text => text?,
        };
        let product = self.product.clone();
        // Its patterns become regular expressions, which takes a while for a long one.
        let parsed = tokio::task::spawn_blocking(move || Robots::parse(&product, &text));
        Ok(parsed.await.unwrap_or(Robots::AllAllowed))
    }
}

/// The first token of a user agent, without its version.
fn product(user_agent: &str) -> &str {
    let first = user_agent.split_whitespace().next().unwrap_or(user_agent);
    first.split('/').next().unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tuwen_settings::ProxyUse;

    use super::*;

    /// URLs of one origin that are asked for at once.
    const URLS: usize = 8;

    /// A host that answers `robots` to the question for its robots.txt, once all others wait for it, and 404 to all else.
    struct RobotsHost {
        robots: &'static str,
        n_robots: AtomicUsize,
        slots: Arc<Semaphore>,
    }

    impl RobotsHost {
        async fn serve(self: Arc<Self>, listener: TcpListener) {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&self).answer(stream));
            }
        }

        async fn answer(self: Arc<Self>, mut stream: TcpStream) -> std::io::Result<()> {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut request).await? == 0 {
                    return Ok(());
                }
            }
            let mut status = "404 .";
            if request.starts_with(b"GET /robots.txt") {
                self.n_robots.fetch_add(1, Ordering::SeqCst);
                status = self.robots;
                // Who waits has given back its slot; who asks has one.
                while self.slots.available_permits() + 1 < URLS
                    && self.n_robots.load(Ordering::SeqCst) == 1
                {
                    tokio::task::yield_now().await;
                }
            }
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await
        }
    }

    #[tokio::test]
    async fn all_that_wait_for_a_robots_txt_ask_for_it_once() {
        let settings = FetchSettings {
            allow_private_hosts: true,
            proxy: ProxyUse::Ignore,
            ..FetchSettings::default()
        };
        for (robots, outcome, retry_after) in [
            ("200 OK", FetchOutcome::HttpStatus, None),
            ("500 .", FetchOutcome::RobotsUnavailable, None),
            ("429 .\r\nRetry-After: 7", FetchOutcome::RateLimited, Some(7)),
        ] {
            let http = Http::new(&settings, 1 << 20).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let slots = Arc::new(Semaphore::new(URLS));
            let (n_robots, all) = (AtomicUsize::new(0), Arc::clone(&slots));
            let host = Arc::new(RobotsHost { robots, n_robots, slots: all });
            tokio::spawn(Arc::clone(&host).serve(listener));
            let attempts = (0..URLS).map(|n| {
                let locator = format!("http://{address}/{n}.png");
                let ask = Ask { locator, attempt: 1, n_tries: 1, known: Validators::default() };
                let permit = Arc::clone(&slots).try_acquire_owned().unwrap();
                let mut slot = Slot::new(Arc::clone(&slots), permit);
                let http = &http;
                async move {
                    let mut trace = Trace::default();
                    let failure = http.get(&ask, &mut slot, &mut trace).await.err().unwrap();
                    (failure.outcome, trace.retry_after.map(|wait| wait.as_secs()))
                }
            });
            let ended = join_all(attempts).await;
            assert_eq!(ended, [(outcome, retry_after); URLS], "{robots}");
            assert_eq!(host.n_robots.load(Ordering::SeqCst), 1, "{robots}");
        }
    }
}
