//! How an attempt may end, and what follows. The one list of it: `originals.outcome` holds these names, and the table in the docs is
//! held equal to this one by a test.

use std::fmt;
use std::time::Duration;

/// A locator is asked again after a week at the latest.
const LONGEST_WAIT_SECS: u64 = 7 * 24 * 3600;

/// How many times longer each wait is than the one before.
const WAIT_GROWTH: u64 = 4;

/// What follows from an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The picture is there.
    Got,
    /// It is not asked for again by itself.
    Final,
    /// It is asked for again, for the first time after so many seconds, `fetch.attempts` times in all.
    Again(u64),
    /// The same after as long each time, without counting: it is not the locator's fault.
    Later(u64),
}

macro_rules! outcomes {
    ($($variant:ident = $name:literal, $next:expr, $meaning:literal;)+) => {
        /// How an attempt ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FetchOutcome {
            $(#[doc = $meaning] $variant,)+
        }

        impl FetchOutcome {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name in `originals`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What follows.
            pub const fn next(self) -> Next {
                match self { $(Self::$variant => $next,)+ }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

outcomes! {
    Ok = "ok", Next::Got, "The bytes are here, and they begin as a picture does.";
    NotModified = "not_modified", Next::Got, "What is there is still what the server has (status 304); nothing is stored twice.";
    HttpStatus = "http_status", Next::Final, "A status that says no: 4xx but for those below, or none that answers a GET.";
    RateLimited = "rate_limited", Next::Later(30), "Status 429, or 503 with Retry-After: the host wants to be asked less.";
    ServerError = "server_error", Next::Again(1), "Status 408, 425 or 5xx.";
    Timeout = "timeout", Next::Again(1), "One of the time limits passed; the detail says which.";
    UnknownHost = "unknown_host", Next::Again(6 * 3600), "The name has no address.";
    Dns = "dns", Next::Again(1), "No name server gave an answer.";
    Connect = "connect", Next::Again(1), "No connection: refused, unreachable, or closed at once.";
    Tls = "tls", Next::Again(6 * 3600), "No encrypted connection: an expired certificate, a wrong name, no common version.";
    Broken = "broken", Next::Again(1), "The answer is no HTTP, or cannot be decompressed.";
    Truncated = "truncated", Next::Again(1), "The body broke off, and could not be resumed.";
    Empty = "empty", Next::Again(3600), "Status 200 without a byte.";
    NotAnImage = "not_an_image", Next::Final, "The content begins as no picture does: a web page, JSON, a film.";
    TooLarge = "too_large", Next::Final, "More bytes than `fetch.max_bytes`.";
    TooManyRedirects = "too_many_redirects", Next::Final, "More redirects than `fetch.max_redirects`.";
    BadUrl = "bad_url", Next::Final, "Not an http or https URL, or a port that browsers do not ask.";
    PrivateHost = "private_host", Next::Again(6 * 3600), "The address is not public, and private ones may not be asked; a name may have another one later.";
    RobotsDisallowed = "robots_disallowed", Next::Again(24 * 3600), "The host's robots.txt forbids it; a day later it is read anew.";
    RobotsUnavailable = "robots_unavailable", Next::Again(3600), "The host's robots.txt answers 5xx: all is forbidden until it does not.";
    OptedOut = "opted_out", Next::Final, "The header X-Robots-Tag forbids to keep it; nothing was kept.";
    HostDown = "host_down", Next::Later(3600), "Not asked: none of the last requests to its host was answered, or the host wants to be left alone for now.";
    MissingFile = "missing_file", Next::Final, "The image folder has no such file.";
    Unreadable = "unreadable", Next::Final, "The file is there but cannot be read.";
}

impl FetchOutcome {
    /// Those after which a locator is asked for again.
    pub fn may_pass() -> impl Iterator<Item = Self> {
        let may_pass = |one: &Self| matches!(one.next(), Next::Again(_) | Next::Later(_));
        Self::ALL.iter().copied().filter(may_pass)
    }

    /// Those of [`FetchOutcome::may_pass`] that `fetch.attempts` does not count.
    pub fn uncounted() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|one| matches!(one.next(), Next::Later(_)))
    }

    /// Whether the URL itself cannot be followed, wherever it came from.
    pub(crate) fn is_of_url(self) -> bool {
        matches!(self, Self::TooManyRedirects | Self::BadUrl | Self::PrivateHost)
    }

    /// Whether the host gave no answer at all, so that the fault may be its own or the network's.
    pub(crate) fn is_silence(self) -> bool {
        matches!(self, Self::Timeout | Self::UnknownHost | Self::Dns | Self::Connect | Self::Tls)
    }

    /// How long to wait after the `n_tries`th try (1, 2, …) ended so; none if it is not asked for again. `asked` is what the host asks
    /// for; then only what a wait that begins with a second has more is added. `share` (0 to 1) is by how much of a quarter of it the
    /// wait is longer, so that what failed together is not asked for together.
    pub(crate) fn wait(
        self,
        n_tries: i32,
        asked: Option<Duration>,
        share: f64,
    ) -> Option<Duration> {
        let (first, n_growths) = match self.next() {
            Next::Again(first) => (first, u32::try_from(n_tries - 1).unwrap_or(0)),
            Next::Later(first) => (first, 0),
            Next::Got | Next::Final => return None,
        };
        let first = if asked.is_some() { 1 } else { first };
        let grown = WAIT_GROWTH.saturating_pow(n_growths).saturating_mul(first);
        let secs = grown.min(LONGEST_WAIT_SECS);
        let wait = Duration::from_secs(secs).mul_f64(1.0 + 0.25 * share);
        Some(wait.max(asked.unwrap_or_default()))
    }
}

impl fmt::Display for FetchOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_at_a_week() {
        let secs = |n_tries| FetchOutcome::Timeout.wait(n_tries, None, 0.0).unwrap().as_secs();
        assert_eq!([1, 2, 3, 4].map(secs), [1, 4, 16, 64]);
        assert_eq!([12, 100, i32::MAX].map(secs), [604_800; 3]);
        assert_eq!(FetchOutcome::Timeout.wait(1, None, 1.0), Some(Duration::from_millis(1250)));
        assert_eq!(FetchOutcome::HttpStatus.wait(1, None, 0.0), None);
        let of = |outcome: FetchOutcome, n_tries, asked: Option<u64>| {
            outcome.wait(n_tries, asked.map(Duration::from_secs), 0.0).unwrap().as_secs()
        };
        let error = FetchOutcome::ServerError;
        assert_eq!(
            [(1, 2), (3, 2), (1, 900)].map(|(n, asked)| of(error, n, Some(asked))),
            [2, 16, 900]
        );
        // What is no try makes no wait longer.
        let limited = FetchOutcome::RateLimited;
        assert_eq!(
            [(1, 0), (5, 0), (5, 900)].map(|(n, asked)| of(limited, n, Some(asked))),
            [1, 1, 900]
        );
        assert_eq!([1, 5].map(|n| of(FetchOutcome::HostDown, n, None)), [3600; 2]);
    }
}
