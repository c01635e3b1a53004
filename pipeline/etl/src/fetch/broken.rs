//! Requests that fail. In: an error of the HTTP client. Out: what that is as an outcome, with its causes.

use std::fmt::Display;

use reqwest::Error;

use crate::fetch::FetchOutcome;
use crate::fetch::attempt::Failure;
use crate::fetch::resolve::Unresolved;

pub(super) fn broken_off(error: &Error, n_bytes: usize) -> Failure {
    let detail = format!("the body broke off after {n_bytes} bytes: {}", causes(error));
    Failure::new(FetchOutcome::Truncated, detail)
}

/// Whether a request on a connection broke before there was an answer, which may be the connection's age.
pub(super) fn is_broken_at_once(error: &Error) -> bool {
    let failure = failure(error);
    let is_closed = failure.detail.contains("closed") || failure.detail.contains("reset");
    failure.outcome == FetchOutcome::Broken && is_closed
}

/// What Linux says when this process or this machine has no file left (EMFILE, ENFILE).
const OWN_ERRORS: [&str; 2] = ["(os error 24)", "(os error 23)"];

impl Failure {
    /// Of a request that could not be made, or was not answered.
    pub(super) fn of_network(outcome: FetchOutcome, detail: impl Display) -> Self {
        let failure = Self::new(outcome, detail);
        let is_own = OWN_ERRORS.iter().any(|error| failure.detail.contains(error));
        Self { is_own, ..failure }
    }
}

/// What went wrong before there was an answer.
pub(super) fn failure(error: &Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut io_kind = None;
    while let Some(error) = cause {
        if let Some(Unresolved(failure)) = error.downcast_ref::<Unresolved>() {
            return Failure::of_network(failure.outcome, &failure.detail);
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
    Failure::of_network(outcome, causes(error))
}

/// An error and what it comes from, without the URL that all of them repeat.
fn causes(error: &Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_no_fault_of_a_host() {
        for (kind, is_own) in [(24, true), (23, true), (99, false), (111, false), (113, false)] {
            let error = std::io::Error::from_raw_os_error(kind);
            let detail = format!("tcp open error: {error}");
            let failure = Failure::of_network(FetchOutcome::Connect, detail);
            assert_eq!(failure.is_own, is_own, "{}", failure.detail);
        }
    }
}
