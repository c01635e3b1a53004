//! URLs over HTTP. In: a URL. Out: the body of a 200 answer, or why not. Never asks a private address unless told to, never what
//! robots.txt forbids, never more of a host at once than it has places, never reads more than `fetch.max_bytes`, and never waits
//! longer than the time limits.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use moka::future::Cache;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
    REFERER, RETRY_AFTER, TRANSFER_ENCODING,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy, Response, StatusCode, Url, Version};
use tuwen_corpus::registered_domain;
use tuwen_settings::{FetchSettings, ProxyUse};

use crate::fetch::FetchOutcome;
use crate::fetch::address::{is_bad_port, is_public, literal};
use crate::fetch::attempt::{Ask, Failure, Trace, Validators, cut, sniff};
use crate::fetch::budget::{Budget, Held};
use crate::fetch::clock::Clock;
use crate::fetch::encoding::{self, Undecodable};
use crate::fetch::headers::OwnHeaders;
use crate::fetch::pace::Pace;
use crate::fetch::places::{Owner, Place, Places};
use crate::fetch::resolve::{Names, Unresolved};
use crate::fetch::retry_after::retry_after;
use crate::fetch::robots::{MOST_ROBOTS_BYTES, Robots, disallowed_directive};
use crate::fetch::slot::Slot;

/// Header lines of an answer that are read; browsers read as many and more.
const MOST_HEADERS: usize = 1000;

/// How often a request is sent whose connection breaks before there is an answer.
const MOST_SENDS: usize = 3;

/// How often a body that breaks off is resumed.
const MOST_RESUMES: usize = 5;

/// How long a robots.txt is kept to before it is asked for again.
const ROBOTS_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Memory for robots.txt of hosts, in bytes.
const ROBOTS_BYTES: u64 = 64 << 20;

/// A connection that is not used is kept for so long: a crawl has more hosts than a process has files.
const IDLE_LIFE: Duration = Duration::from_secs(2);

/// A robots.txt that answers 5xx is asked for again after so long.
const UNAVAILABLE_LIFE: Duration = Duration::from_secs(300);

/// Memory that a body begins with, unless it is shorter: most pictures of the web need no more.
const FIRST_BODY_BYTES: usize = 256 << 10;

/// A body must have come this long before its speed is judged.
const SPEED_AFTER: Duration = Duration::from_secs(10);

/// Without a proxy these are not there, or are what the hosts are asked through.
const PROXY_VARIABLES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

const PRIVATE: &str = "its address is not public";

/// A client for crawls.
pub(super) struct Http {
    client: Client,
    names: Names,
    places: Places,
    budget: Budget,
    pace: Pace,
    robots: Cache<String, Arc<Robots>>,
    /// What robots.txt and X-Robots-Tag call us.
    product: String,
    through_proxy: bool,
    referer: Option<HeaderValue>,
    own_headers: OwnHeaders,
    settings: FetchSettings,
}

/// A body, and the memory that is reserved for it.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) held: Held,
}

/// An answer on its way, and the places that it has.
struct Answer {
    response: Response,
    url: Url,
    places: Vec<Place>,
}

/// What is asked for beside the URL.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Whole,
    /// The whole, unless it is what these name.
    Other(&'a Validators),
    /// From a byte on, if what this validator names has not changed.
    From(u64, &'a str),
}

impl Http {
    /// `body_bytes` is the memory for bodies under way.
    ///
    /// # Errors
    /// A proxy is set that would evade the guard; a setting cannot be used.
    pub(super) fn new(settings: &FetchSettings, body_bytes: u64) -> Result<Self> {
        let names = Names::new(settings)?;
        let mut agent = settings.user_agent.clone();
        if !settings.contact.is_empty() {
            agent = format!("{agent} (+{})", settings.contact);
        }
        let mut builder = Client::builder()
            .user_agent(
                header_value("fetch.user_agent and fetch.contact", &agent)?
                    .context("fetch.user_agent")?,
            )
            .connect_timeout(Duration::from_secs(settings.connect_timeout_secs))
            .redirect(Policy::none())
            .referer(false)
            .http1_max_headers(MOST_HEADERS)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .pool_max_idle_per_host(settings.per_host)
            .pool_idle_timeout(IDLE_LIFE);
        let proxy = proxy(settings)?;
        builder = match &proxy {
            // For all requests, so that the only name that the client resolves itself is the proxy's.
            Some(proxy) => builder
                .no_proxy()
                .proxy(Proxy::all(proxy).context("the proxy that the environment names")?)
                .dns_resolver(Arc::new(names.any_address())),
            None => builder.no_proxy().dns_resolver(Arc::new(names.clone())),
        };
        Ok(Self {
            client: builder.build().context("the HTTP client")?,
            names,
            places: Places::new(settings.per_host),
            budget: Budget::new(body_bytes),
            pace: Pace::new(settings.bytes_per_sec),
            robots: Cache::builder()
                .weigher(|_: &String, robots: &Arc<Robots>| robots.weight())
                .max_capacity(ROBOTS_BYTES)
                .time_to_live(ROBOTS_LIFE)
                .build(),
            product: product(&settings.user_agent).to_owned(),
            through_proxy: proxy.is_some(),
            own_headers: OwnHeaders::read(&settings.headers)?,
            referer: header_value("fetch.referer", &settings.referer)?,
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
        let tags = answer.response.headers().get_all(X_ROBOTS_TAG);
        let tags = tags.iter().filter_map(|tag| tag.to_str().ok());
        let ignored = &self.settings.ignored_directives;
        if let Some(directive) = disallowed_directive(tags, ignored, &self.product) {
            let detail = format!("X-Robots-Tag: {directive}");
            return Err(Failure::new(FetchOutcome::OptedOut, detail));
        }
        let body = self.whole_body(answer, &mut clock, slot, trace).await?;
        is_picture(&body.bytes)?;
        Ok(body)
    }

    /// Whether `url`'s host answers anything at all. Takes no place at it: all may be held by what waits for the one who asks.
    pub(super) async fn answers(&self, url: &Url) -> bool {
        let limit = Duration::from_secs(self.settings.first_byte_timeout_secs);
        let request = self.client.get(url.clone()).timeout(limit).send();
        self.check(url).is_ok() && request.await.is_ok()
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
            self.check(&url)?;
            if known.is_some() && self.settings.robots {
                self.keep_to_robots(&url, clock, slot, trace).await?;
            }
            let wanted = known.map_or(Wanted::Whole, Wanted::Other);
            let answer = self.ask(url.clone(), wanted, clock, slot, trace).await?;
            if known.is_some() {
                trace.note(&answer.response, (n_redirects > 0).then_some(&url));
            }
            let Some(next) = redirect(&answer.response, &url)? else { return Ok(answer) };
            url = next;
        }
        let detail = format!("more than {} redirects", self.settings.max_redirects);
        Err(Failure::new(FetchOutcome::TooManyRedirects, detail))
    }

    fn check(&self, url: &Url) -> Result<(), Failure> {
        let bad = |detail: String| Err(Failure::new(FetchOutcome::BadUrl, detail));
        if !matches!(url.scheme(), "http" | "https") {
            return bad(format!("expected http or https, found `{}`", url.scheme()));
        }
        if let Some(port) = url.port().filter(|port| is_bad_port(*port)) {
            return bad(format!("port {port} is not for pages"));
        }
        let address = literal(url);
        if address.is_some_and(|address| !self.settings.allow_private_hosts && !is_public(address))
        {
            return Err(Failure::new(FetchOutcome::PrivateHost, PRIVATE));
        }
        Ok(())
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
        let answer = match self.follow(url, None, clock, slot, &mut own).await {
            Ok(answer) => answer,
            // As if there were none.
            Err(failure) if failure.outcome.is_of_url() => return Ok(Robots::AllAllowed),
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
        let text = self.bounded(answer.response, MOST_ROBOTS_BYTES, clock, trace).await?;
        let product = self.product.clone();
        // Its patterns become regular expressions, which takes a while for a long one.
        let parsed = tokio::task::spawn_blocking(move || Robots::parse(&product, &text));
        Ok(parsed.await.unwrap_or(Robots::AllAllowed))
    }

    /// Up to `most_bytes` of a body; what comes after them is left.
    async fn bounded(
        &self,
        mut response: Response,
        most_bytes: u64,
        clock: &mut Clock,
        trace: &mut Trace,
    ) -> Result<Vec<u8>, Failure> {
        let header = encoding_header(response.headers());
        let mut text = Vec::new();
        let limit = Duration::from_secs(self.settings.read_timeout_secs);
        while (text.len() as u64) < most_bytes {
            let part =
                clock.within(limit, "the next bytes of robots.txt", response.chunk()).await?;
            let Some(part) = part.map_err(|error| failure(&error))? else { break };
            trace.wire_bytes += part.len() as u64;
            text.extend_from_slice(&part);
        }
        text.truncate(most_bytes as usize);
        match header {
            Some(header) => Ok(encoding::decode(&header, text, most_bytes).unwrap_or_default()),
            None => Ok(text),
        }
    }

    /// One request, when its host has a place for it.
    async fn ask(
        &self,
        url: Url,
        wanted: Wanted<'_>,
        clock: &mut Clock,
        slot: &mut Slot,
        trace: &mut Trace,
    ) -> Result<Answer, Failure> {
        let places = self.take_places(&url, clock, slot).await?;
        let mut n_tries = 0;
        let response = loop {
            n_tries += 1;
            match self.send(&url, wanted, clock).await? {
                Ok(response) => break response,
                // A server may close a connection that it kept open just when it is used again.
                Err(error) if n_tries < MOST_SENDS && is_broken_at_once(&error) => {}
                Err(error) => return Err(failure(&error)),
            }
        };
        let address = response.remote_addr().filter(|_| !self.through_proxy);
        trace.address = address.map(|address| address.ip());
        Ok(Answer { response, url, places })
    }

    /// Sends a request, and waits for the head of the answer.
    async fn send(
        &self,
        url: &Url,
        wanted: Wanted<'_>,
        clock: &Clock,
    ) -> Result<reqwest::Result<Response>, Failure> {
        let mut request = self.client.get(url.clone());
        match wanted {
            Wanted::Whole => {}
            Wanted::Other(known) => {
                if let Some(etag) = &known.etag {
                    request = request.header(IF_NONE_MATCH, etag);
                }
                if let Some(date) = &known.last_modified {
                    request = request.header(IF_MODIFIED_SINCE, date);
                }
            }
            Wanted::From(at, validator) => {
                request = request.header(RANGE, format!("bytes={at}-")).header(IF_RANGE, validator);
            }
        }
        if let Some(referer) = &self.referer {
            request = request.header(REFERER, referer);
        }
        if let Some(headers) = self.own_headers.of(url) {
            request = request.headers(headers.clone());
        }
        let (connect, first) =
            (self.settings.connect_timeout_secs, self.settings.first_byte_timeout_secs);
        let limit = Duration::from_secs(connect + first);
        clock.within(limit, "the head of the answer", request.send()).await
    }

    /// A place at the host's registered domain and one at its address.
    async fn take_places(
        &self,
        url: &Url,
        clock: &mut Clock,
        slot: &mut Slot,
    ) -> Result<Vec<Place>, Failure> {
        let mut owners: Vec<Owner> =
            registered_domain(url).map(Owner::Domain).into_iter().collect();
        if !self.through_proxy {
            let address = match (literal(url), url.host_str()) {
                (Some(address), _) => Some(address),
                (None, Some(host)) => {
                    let limit = Duration::from_secs(self.settings.dns_timeout_secs);
                    let lookup = self.names.addresses(host);
                    clock.within(limit + limit, "the name", lookup).await??.first().copied()
                }
                (None, None) => None,
            };
            owners.extend(address.map(Owner::Address));
        }
        let mut places = Vec::with_capacity(owners.len());
        for owner in &owners {
            let place = match self.places.take_free(owner) {
                Some(place) => place,
                None => clock.excused(slot.away(self.places.take(owner))).await,
            };
            places.push(place);
        }
        Ok(places)
    }

    /// All of the body, resumed where it breaks off, with its encodings undone.
    async fn whole_body(
        &self,
        mut answer: Answer,
        clock: &mut Clock,
        slot: &mut Slot,
        trace: &mut Trace,
    ) -> Result<Body, Failure> {
        let ends_by_closing = ends_by_closing(&answer.response);
        let validator = validator(answer.response.headers());
        let header = encoding_header(answer.response.headers());
        let mut body = Body { bytes: Vec::new(), held: Held::default() };
        let mut resumes = 0;
        while let Err(failure) = self.read(&mut answer.response, &mut body, clock, trace).await {
            let Some(validator) = validator.as_deref().filter(|_| {
                failure.outcome == FetchOutcome::Truncated
                    && resumes < MOST_RESUMES
                    && !body.bytes.is_empty()
            }) else {
                return Err(failure);
            };
            resumes += 1;
            let at = body.bytes.len() as u64;
            let url = answer.url.clone();
            // The place that the broken answer has is the one to go on with.
            answer.places.clear();
            let wanted = Wanted::From(at, validator);
            let Ok(rest) = self.ask(url, wanted, clock, slot, trace).await else {
                return Err(failure);
            };
            match rest.response.status() {
                StatusCode::PARTIAL_CONTENT if goes_on_at(rest.response.headers(), at) => {}
                StatusCode::OK => body.bytes.clear(),
                _ => return Err(failure),
            }
            answer = rest;
        }
        if let Some(header) = header {
            let (bytes, max_bytes) = (std::mem::take(&mut body.bytes), self.settings.max_bytes);
            // As long as nobody knows how long it becomes.
            let needed = bytes.len() as u64 + 2 * max_bytes;
            clock.excused(self.budget.grow(&mut body.held, needed)).await;
            let decoded =
                tokio::task::spawn_blocking(move || encoding::decode(&header, bytes, max_bytes));
            body.bytes = match decoded.await {
                Ok(Ok(bytes)) => bytes,
                Ok(Err(Undecodable::TooLarge)) => return Err(self.too_large(max_bytes + 1)),
                Ok(Err(Undecodable::Broken(detail))) => {
                    let detail = format!("Content-Encoding: {detail}");
                    return Err(Failure::new(FetchOutcome::Broken, detail));
                }
                Err(panic) => return Err(Failure::new(FetchOutcome::Broken, panic)),
            };
            body.bytes.shrink_to_fit();
            body.held.shrink(body.bytes.len() as u64);
        }
        if ends_by_closing && lacks_its_end(&body.bytes) {
            let detail = format!("{} bytes of a picture without its end", body.bytes.len());
            return Err(Failure::new(FetchOutcome::Truncated, detail));
        }
        Ok(body)
    }

    /// Reads `response` to its end onto `body`.
    async fn read(
        &self,
        response: &mut Response,
        body: &mut Body,
        clock: &mut Clock,
        trace: &mut Trace,
    ) -> Result<(), Failure> {
        let declared = response.content_length();
        let declared = declared.map(|n| n.saturating_add(body.bytes.len() as u64));
        if let Some(length) = declared.filter(|length| *length > self.settings.max_bytes) {
            return Err(self.too_large(length));
        }
        let limit = Duration::from_secs(self.settings.read_timeout_secs);
        let (mut came, mut spent) = (0_u64, Duration::ZERO);
        loop {
            let began = tokio::time::Instant::now();
            let part = clock.within(limit, "the next bytes of the body", response.chunk()).await?;
            spent += began.elapsed();
            let part = match part {
                Ok(Some(part)) => part,
                Ok(None) => return Ok(()),
                Err(error) => return Err(broken_off(&error, body.bytes.len())),
            };
            (came, trace.wire_bytes) =
                (came + part.len() as u64, trace.wire_bytes + part.len() as u64);
            let n_bytes = body.bytes.len() as u64 + part.len() as u64;
            if n_bytes > self.settings.max_bytes {
                return Err(self.too_large(n_bytes));
            }
            self.make_room(body, n_bytes as usize, declared, clock).await;
            clock.excused(self.pace.pay(part.len())).await;
            body.bytes.extend_from_slice(&part);
            let least = self.settings.least_bytes_per_sec as f64 * spent.as_secs_f64();
            if spent >= SPEED_AFTER && (came as f64) < least {
                let detail = format!(
                    "{came} bytes in {:.0} s, fetch.least_bytes_per_sec is {}",
                    spent.as_secs_f64(),
                    self.settings.least_bytes_per_sec
                );
                return Err(Failure::new(FetchOutcome::Timeout, detail));
            }
        }
    }

    /// Makes `body` hold `n_bytes`, when there is memory for it. It grows step by step, whatever length was declared: what an allocator
    /// reserves at once may be memory that others have used before, and is in use then.
    async fn make_room(
        &self,
        body: &mut Body,
        n_bytes: usize,
        declared: Option<u64>,
        clock: &mut Clock,
    ) {
        let capacity = body.bytes.capacity();
        if n_bytes <= capacity {
            return;
        }
        let most = declared.map_or(usize::MAX, |length| length as usize);
        let larger = (2 * capacity).max(FIRST_BODY_BYTES).min(most).max(n_bytes);
        // Both are there while what came is moved.
        clock.excused(self.budget.grow(&mut body.held, (capacity + larger) as u64)).await;
        body.bytes.reserve_exact(larger - body.bytes.len());
        body.held.shrink(larger as u64);
    }

    fn too_large(&self, found: u64) -> Failure {
        let detail =
            format!("{found} bytes or more, fetch.max_bytes is {}", self.settings.max_bytes);
        Failure::new(FetchOutcome::TooLarge, detail)
    }
}

impl Trace {
    fn note(&mut self, response: &Response, redirected: Option<&Url>) {
        let header = |name: HeaderName| {
            let value = response.headers().get(name)?;
            Some(cut(&String::from_utf8_lossy(value.as_bytes())))
        };
        self.http_status = Some(response.status().as_u16());
        self.final_url = redirected.map(|url| cut(url.as_str()));
        self.content_type = header(CONTENT_TYPE);
        self.etag = header(ETAG);
        self.last_modified = header(LAST_MODIFIED);
    }
}

/// The proxy that requests go through.
fn proxy(settings: &FetchSettings) -> Result<Option<String>> {
    let set = PROXY_VARIABLES.iter().find_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let Some((variable, proxy)) = set else { return Ok(None) };
    match settings.proxy {
        ProxyUse::Ignore => Ok(None),
        ProxyUse::Use => Ok(Some(proxy)),
        ProxyUse::Refuse if settings.allow_private_hosts => Ok(Some(proxy)),
        ProxyUse::Refuse => bail!(
            "{variable} names a proxy: it would resolve names itself, so that nobody sees whether a URL leads to a private address\n\
             hint: --set fetch.proxy=use if the proxy keeps requests away from private addresses, --set fetch.proxy=ignore to ask the hosts directly"
        ),
    }
}

/// The value of a header, none if it is empty. It may have letters of any script, as UTF-8.
fn header_value(setting: &str, text: &str) -> Result<Option<HeaderValue>> {
    let value = HeaderValue::from_bytes(text.as_bytes());
    let value = value.with_context(|| format!("{setting}: expected a text of one line"))?;
    Ok(Some(value).filter(|value| !value.is_empty()))
}

/// The first token of a user agent, without its version.
fn product(user_agent: &str) -> &str {
    let first = user_agent.split_whitespace().next().unwrap_or(user_agent);
    first.split('/').next().unwrap_or(first)
}

/// Where a redirect leads; none if it is no redirect.
fn redirect(response: &Response, url: &Url) -> Result<Option<Url>, Failure> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = response.headers().get(LOCATION).filter(|_| is_redirect) else {
        return Ok(None);
    };
    // Some servers send UTF-8 that is not escaped; the parser of URLs escapes it.
    let location = String::from_utf8_lossy(location.as_bytes());
    let next = url.join(&location).map_err(|error| {
        Failure::new(FetchOutcome::BadUrl, format!("Location: {}: {error}", cut(&location)))
    })?;
    Ok(Some(next))
}

/// What a status other than 200 is.
fn refusal(response: &Response, was_known: bool, trace: &mut Trace) -> Failure {
    let status = response.status();
    trace.retry_after = response.headers().get(RETRY_AFTER).and_then(retry_after);
    let outcome = match status.as_u16() {
        // To a request that did not ask so it is no answer.
        304 if was_known => FetchOutcome::NotModified,
        429 => FetchOutcome::RateLimited,
        503 if trace.retry_after.is_some() => FetchOutcome::RateLimited,
        408 | 425 | 500..=599 => FetchOutcome::ServerError,
        _ => FetchOutcome::HttpStatus,
    };
    Failure::new(outcome, status)
}

fn is_picture(bytes: &[u8]) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Err(Failure::new(FetchOutcome::Empty, "0 bytes"));
    }
    if tuwen_image::media_type(bytes).is_some() {
        return Ok(());
    }
    let start = bytes.iter().take(24).map(|byte| byte.escape_ascii().to_string());
    let start: String = start.collect();
    let detail = format!("{}: the content begins with `{start}`", sniff(bytes));
    Err(Failure::new(FetchOutcome::NotAnImage, detail))
}

/// Whether only the end of the connection says where the body ends, so that a cut cannot be told from it.
fn ends_by_closing(response: &Response) -> bool {
    let headers = response.headers();
    response.version() <= Version::HTTP_11
        && response.content_length().is_none()
        && !headers.contains_key(TRANSFER_ENCODING)
}

/// Whether a picture whose format marks its end has lost it.
fn lacks_its_end(bytes: &[u8]) -> bool {
    let last = |pattern: &[u8]| bytes.windows(pattern.len()).rposition(|part| part == pattern);
    match bytes {
        // The end of the image behind the last start of a scan: a thumbnail has both too.
        [0xff, 0xd8, 0xff, ..] => last(&[0xff, 0xd9]) < last(&[0xff, 0xda]),
        [0x89, b'P', b'N', b'G', ..] => last(b"IEND").is_none(),
        [b'G', b'I', b'F', b'8', ..] => !bytes.trim_ascii_end().ends_with(b";"),
        _ => false,
    }
}

/// What a body can be resumed by: a strong ETag or a date, from a server that does not say it cannot.
fn validator(headers: &HeaderMap) -> Option<String> {
    if headers.get(ACCEPT_RANGES).is_some_and(|value| value == "none") {
        return None;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let etag = text(ETAG).filter(|etag| etag.starts_with('"'));
    etag.or_else(|| text(LAST_MODIFIED)).map(str::to_owned)
}

/// Whether the part begins at `at`.
fn goes_on_at(headers: &HeaderMap, at: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {at}-")))
}

fn encoding_header(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = values.collect();
    (!all.is_empty()).then(|| all.join(","))
}

fn broken_off(error: &reqwest::Error, n_bytes: usize) -> Failure {
    let detail = format!("the body broke off after {n_bytes} bytes: {}", causes(error));
    Failure::new(FetchOutcome::Truncated, detail)
}

/// Whether a request on a connection broke before there was an answer, which may be the connection's age.
fn is_broken_at_once(error: &reqwest::Error) -> bool {
    let failure = failure(error);
    let is_closed = failure.detail.contains("closed") || failure.detail.contains("reset");
    failure.outcome == FetchOutcome::Broken && is_closed
}

/// What went wrong before there was an answer.
fn failure(error: &reqwest::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut io_kind = None;
    while let Some(error) = cause {
        if let Some(Unresolved(failure)) = error.downcast_ref::<Unresolved>() {
            return Failure::new(failure.outcome, &failure.detail);
        }
        // An error of this kind does not name the one that it wraps as its source.
        let mut io = error.downcast_ref::<std::io::Error>();
        while let Some(error) = io {
            io_kind = Some(error.kind());
            io = error.get_ref().and_then(|inner| inner.downcast_ref());
        }
        cause = error.source();
    }
    // rustls wraps what it finds wrong in this kind, and a peer that goes away while it talks in the other.
    let is_tls = matches!(
        io_kind,
        Some(std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
    );
    let outcome = match () {
        () if error.is_timeout() => FetchOutcome::Timeout,
        () if error.is_connect() && is_tls => FetchOutcome::Tls,
        () if error.is_connect() => FetchOutcome::Connect,
        () => FetchOutcome::Broken,
    };
    Failure::new(outcome, causes(error))
}

/// An error and what it comes from, without the URL that all of them repeat.
fn causes(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        cause = error.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}
