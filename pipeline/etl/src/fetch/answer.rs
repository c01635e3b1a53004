//! The head of an answer, and what it is for a crawl of pictures. In: an answer. Out: what is recorded of it, where it leads, or why there
//! is no picture.

use reqwest::header::{CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED, LOCATION, RETRY_AFTER};
use reqwest::{Response, Url};

use crate::fetch::FetchOutcome;
use crate::fetch::attempt::{Failure, Trace, cut, sniff};
use crate::fetch::retry_after::retry_after;

impl Trace {
    pub(super) fn note(&mut self, response: &Response, redirected: Option<&Url>) {
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

    /// The same of another answer from the same place.
    pub(super) fn note_again(&mut self, response: &Response) {
        let final_url = self.final_url.take();
        self.note(response, None);
        self.final_url = final_url;
    }
}

/// Where a redirect leads; none if it is no redirect.
pub(super) fn redirect(response: &Response, url: &Url) -> Result<Option<Url>, Failure> {
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
pub(super) fn refusal(response: &Response, was_known: bool, trace: &mut Trace) -> Failure {
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

pub(super) fn is_picture(bytes: &[u8]) -> Result<(), Failure> {
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
