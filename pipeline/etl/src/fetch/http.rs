//! URLs over HTTP. In: a URL. Out: the body of a 200 answer, or why not. Never asks a private address unless told to, never what
//! robots.txt forbids, never more of a host at once than it has places, never reads more than `fetch.max_bytes`, and never waits
//! longer than the time limits.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use moka::future::Cache;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{StatusCode, Url};
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
                // Its wire bytes are the attempt's; its status and headers are not.
                let asked = self.ask_robots(&origin, clock, slot, trace);
                let robots = Arc::new(Box::pin(asked).await?);
                self.robots.insert(origin, Arc::clone(&robots)).await;
                robots
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

    async fn ask_robots(
        &self,
        origin: &str,
        clock: &mut Clock,
        slot: &mut Slot,
        trace: &mut Trace,
    ) -> Result<Robots, Failure> {
        let url = Url::parse(&format!("{origin}/robots.txt"))
            .map_err(|error| Failure::new(FetchOutcome::BadUrl, error))?;
        let mut own = Trace::default();
        let answer = self.follow(url, None, clock, slot, &mut own).await;
        trace.was_answered |= own.was_answered;
        let answer = match answer {
            Ok(answer) => answer,
            // It leads to none, as if there were none.
            Err(failure) if failure.outcome.is_of_url() && own.was_answered => {
                return Ok(Robots::AllAllowed);
            }
            Err(failure) => return Err(failure),
        };
        let status = answer.response.status();
        let refusal = refusal(&answer.response, false, &mut own);
        match refusal.outcome {
            FetchOutcome::RateLimited => {
                trace.retry_after = own.retry_after;
                return Err(refusal);
            }
            FetchOutcome::ServerError => {
                return Ok(Robots::unavailable(format!("robots.txt: {status}")));
            }
            _ => {}
        }
        if !status.is_success() {
            return Ok(Robots::AllAllowed);
        }
        let text = self.bodies.bounded(answer.response, MOST_ROBOTS_BYTES, clock, trace).await;
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
