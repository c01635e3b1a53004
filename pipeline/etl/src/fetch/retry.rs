//! What is tried again although it failed. In: settings. Out: which outcomes, and how long ago.

use std::time::Duration;

use anyhow::{Result, bail};
use tuwen_settings::FetchSettings;

use crate::fetch::FetchOutcome;

/// What is tried again besides what is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Retry {
    /// Whatever failed.
    pub(super) all: bool,
    /// What is there too: whether it has changed.
    pub(super) refresh: bool,
    /// What failed so.
    pub(super) outcomes: Vec<FetchOutcome>,
    /// Of these only what was last asked for so long ago.
    pub(super) older_than: Option<Duration>,
}

impl Retry {
    /// # Errors
    /// `fetch.retry` names an outcome that there is not.
    pub(super) fn of(settings: &FetchSettings) -> Result<Self> {
        let names = settings.retry.split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut outcomes = Vec::new();
        for name in names {
            let failures = || FetchOutcome::ALL.iter().filter(|one| **one != FetchOutcome::Ok);
            let Some(outcome) = failures().find(|outcome| outcome.name() == name) else {
                let all: Vec<&str> = failures().map(|outcome| outcome.name()).collect();
                bail!("fetch.retry: expected outcomes of {}, found `{name}`", all.join(", "));
            };
            outcomes.push(*outcome);
        }
        let older_than = Some(settings.retry_older_than_secs).filter(|secs| *secs > 0);
        Ok(Self {
            // An age alone means whatever failed.
            all: settings.retry_failed
                || (older_than.is_some() && outcomes.is_empty() && !settings.refresh),
            refresh: settings.refresh,
            outcomes,
            older_than: older_than.map(Duration::from_secs),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_outcomes() {
        let of = |retry: &str, retry_older_than_secs| {
            let retry = retry.to_owned();
            Retry::of(&FetchSettings { retry, retry_older_than_secs, ..FetchSettings::default() })
        };
        assert_eq!(of("", 0).unwrap(), Retry::default());
        let some = of("http_status, not_an_image", 60).unwrap();
        assert_eq!(some.outcomes, [FetchOutcome::HttpStatus, FetchOutcome::NotAnImage]);
        assert_eq!((some.all, some.older_than), (false, Some(Duration::from_secs(60))));
        assert!(of("", 60).unwrap().all);
        for wrong in ["404", "ok", "http_status;timeout"] {
            let error = of(wrong, 0).unwrap_err().to_string();
            assert!(error.ends_with(&format!("found `{wrong}`")), "{error}");
        }
    }
}
