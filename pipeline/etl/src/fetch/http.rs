//! URLs over HTTP. In: a URL. Out: the body of a 200 answer, or why not. Never asks a private address unless told to, never
//! reads more than `fetch.max_bytes`, never waits longer than the time-outs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fetch::FetchOutcome;
use crate::fetch::attempt::Failure;
use crate::fetch::hosts::{PRIVATE, PublicResolver, is_private_literal};
use tuwen_settings::FetchSettings;

/// A client for crawls.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    max_bytes: u64,
    allow_private_hosts: bool,
    per_host: usize,
    hosts: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

impl Http {
    pub(crate) fn new(settings: &FetchSettings) -> Result<Self> {
        let (max_redirects, allow_private_hosts) =
            (settings.max_redirects, settings.allow_private_hosts);
        let policy = Policy::custom(move |attempt| {
            if !allow_private_hosts && is_private_literal(attempt.url()) {
                attempt.error(PRIVATE)
            } else if attempt.previous().len() > max_redirects {
                attempt.error(format!("more than {max_redirects} redirects"))
            } else {
                attempt.follow()
            }
        });
        let mut builder = Client::builder()
            .user_agent(&settings.user_agent)
            .connect_timeout(Duration::from_secs(settings.connect_timeout_secs))
            .timeout(Duration::from_secs(settings.timeout_secs))
            .redirect(policy);
        if !allow_private_hosts {
            // A proxy would resolve names for us, out of the resolver's sight.
            builder = builder.dns_resolver(Arc::new(PublicResolver)).no_proxy();
        }
        Ok(Self {
            client: builder.build()?,
            max_bytes: settings.max_bytes,
            allow_private_hosts,
            per_host: settings.per_host.max(1),
            hosts: Arc::default(),
        })
    }

    /// Waits for one of the host's places; they are given back when the permit is dropped.
    pub(crate) async fn place(&self, locator: &str) -> Option<OwnedSemaphorePermit> {
        let host = Url::parse(locator).ok()?.host_str()?.to_owned();
        let places = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(hosts.entry(host).or_insert_with(|| Arc::new(Semaphore::new(self.per_host))))
        };
        // Nobody closes the semaphores; without a place the request would still be right, only less polite.
        places.acquire_owned().await.ok()
    }

    /// The body and status of a 200 answer.
    pub(crate) async fn get(&self, locator: &str) -> Result<(Vec<u8>, u16), Failure> {
        let url = Url::parse(locator).map_err(|error| Failure::new(FetchOutcome::BadUrl, error))?;
        if !matches!(url.scheme(), "http" | "https") {
            let detail = format!("expected http or https, found `{}`", url.scheme());
            return Err(Failure::new(FetchOutcome::BadUrl, detail));
        }
        if !self.allow_private_hosts && is_private_literal(&url) {
            return Err(Failure::new(FetchOutcome::PrivateHost, PRIVATE));
        }
        let mut response = self.client.get(url).send().await.map_err(failure)?;
        let status = response.status();
        let with_status =
            |failure: Failure| Failure { http_status: Some(status.as_u16()), ..failure };
        if status != StatusCode::OK {
            return Err(with_status(Failure::new(FetchOutcome::HttpStatus, status)));
        }
        let too_large = |found: u64| {
            let detail = format!("{found} bytes or more, fetch.max_bytes is {}", self.max_bytes);
            with_status(Failure::new(FetchOutcome::TooLarge, detail))
        };
        if let Some(length) = response.content_length().filter(|length| *length > self.max_bytes) {
            return Err(too_large(length));
        }
        let mut body = Vec::with_capacity(response.content_length().unwrap_or(0) as usize);
        while let Some(part) =
            response.chunk().await.map_err(|error| with_status(failure(error)))?
        {
            body.extend_from_slice(&part);
            if body.len() as u64 > self.max_bytes {
                return Err(too_large(body.len() as u64));
            }
        }
        Ok((body, status.as_u16()))
    }
}

fn failure(error: reqwest::Error) -> Failure {
    let mut detail = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    let outcome = match () {
        () if detail.contains(PRIVATE) => FetchOutcome::PrivateHost,
        () if error.is_timeout() => FetchOutcome::Timeout,
        () if error.is_redirect() => FetchOutcome::TooManyRedirects,
        () if error.is_connect() => FetchOutcome::Connect,
        () => FetchOutcome::Broken,
    };
    Failure::new(outcome, detail)
}
