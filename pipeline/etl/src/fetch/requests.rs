//! One request. In: a URL. Out: the head of the answer, its body still to come. Never asks a private address unless told to, and never more
//! of a host at once than it has places.

use std::time::Duration;

use anyhow::Result;
use reqwest::header::{HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE, REFERER};
use reqwest::{Response, Url};
use tuwen_corpus::registered_domain;
use tuwen_settings::FetchSettings;

use crate::fetch::FetchOutcome;
use crate::fetch::address::{is_bad_port, is_public, literal};
use crate::fetch::attempt::{Failure, Trace, Validators};
use crate::fetch::broken::{failure, is_broken_at_once};
use crate::fetch::client::{Client, header_value};
use crate::fetch::clock::Clock;
use crate::fetch::headers::OwnHeaders;
use crate::fetch::places::{Owner, Place, Places};
use crate::fetch::resolve::Names;
use crate::fetch::slot::Slot;

/// How often a request is sent whose connection breaks before there is an answer.
const MOST_SENDS: usize = 3;

const PRIVATE: &str = "its address is not public";

/// What requests are made with.
pub(super) struct Requests {
    client: Client,
    names: Names,
    places: Places,
    referer: Option<HeaderValue>,
    own_headers: OwnHeaders,
    settings: FetchSettings,
}

/// An answer on its way, and the places that it has.
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) url: Url,
    pub(super) places: Vec<Place>,
}

/// What is asked for beside the URL.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Whole,
    /// The whole, unless it is what these name.
    Other(&'a Validators),
    /// From a byte on, if what this validator names has not changed.
    From(u64, &'a str),
}

impl Requests {
    /// # Errors
    /// A proxy is set that would evade the guard; a setting cannot be used.
    pub(super) fn new(settings: &FetchSettings) -> Result<Self> {
        let names = Names::new(settings)?;
        Ok(Self {
            client: Client::new(settings, &names)?,
            names,
            places: Places::new(settings.per_host),
            own_headers: OwnHeaders::read(&settings.headers)?,
            referer: header_value("fetch.referer", &settings.referer)?,
            settings: settings.clone(),
        })
    }

    /// Checks that `url` may be asked for, as far as it says itself.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn check(&self, url: &Url) -> Result<(), Failure> {
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

    /// Whether `url`'s host answers anything at all. Takes no place at it: all may be held by what waits for the one who asks.
    pub(super) async fn answers(&self, url: &Url) -> bool {
        let limit = Duration::from_secs(self.settings.first_byte_timeout_secs);
        let request = self.client.http.get(url.clone()).timeout(limit).send();
        self.check(url).is_ok() && request.await.is_ok()
    }

    /// One request, when its host has a place for it.
    pub(super) async fn ask(
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
                Err(error) => return Err(self.unanswered(&error, &url)),
            }
        };
        let address = response.remote_addr().filter(|_| !self.client.through_proxy);
        trace.address = address.map(|address| address.ip());
        trace.was_answered = true;
        Ok(Answer { response, url, places })
    }

    /// What went wrong before there was an answer. The client has one limit for a connection and its TLS handshake, and does not say
    /// that it is this one which passed.
    fn unanswered(&self, error: &reqwest::Error, url: &Url) -> Failure {
        let failure = failure(error);
        if failure.outcome != FetchOutcome::Timeout || !error.is_connect() {
            return failure;
        }
        let what = if url.scheme() == "https" { "connection with TLS" } else { "connection" };
        let secs = self.settings.connect_timeout_secs;
        Failure { detail: format!("no {what} within {secs} s: {}", failure.detail), ..failure }
    }

    /// Sends a request, and waits for the head of the answer.
    async fn send(
        &self,
        url: &Url,
        wanted: Wanted<'_>,
        clock: &Clock,
    ) -> Result<reqwest::Result<Response>, Failure> {
        let mut request = self.client.http.get(url.clone());
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
        // A connection is a part of it, unless it may take longer than an answer.
        let limit = Duration::from_secs(connect.max(first));
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
        if !self.client.through_proxy {
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
}
