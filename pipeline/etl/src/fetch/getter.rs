//! One attempt. In: what to ask for. Out: how it ended, with the time of the next try.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use chrono::Utc;
use reqwest::Url;
use tuwen_corpus::registered_domain;
use tuwen_settings::FetchSettings;

use crate::fetch::attempt::{Ask, Failure, Got, Trace};
use crate::fetch::budget::{Budget, Held};
use crate::fetch::http::Http;
use crate::fetch::origin::Origin;
use crate::fetch::slot::Slot;
use crate::fetch::{Attempt, FetchOutcome, folder};

/// A host that cannot be told: all such locators are one.
const NO_HOST: &str = "";

/// Bodies under way get this part of `fetch.memory_limit`. A chunk's rows, the Parquet file that they become and what the allocator
/// keeps take the rest.
const BODIES_PART: u64 = 6;

/// Where attempts get their bytes.
pub(super) enum Getter {
    Http(Box<Http>),
    Folder { folder: PathBuf, max_bytes: u64, budget: Budget },
}

impl Getter {
    /// # Errors
    /// The settings are wrong, or there is no such folder on this machine.
    pub(super) fn new(origin: Origin, settings: &FetchSettings) -> Result<Self> {
        let body_bytes = settings.memory_limit / BODIES_PART;
        Ok(match origin {
            Origin::Http => Self::Http(Box::new(Http::new(settings, body_bytes)?)),
            Origin::Folder(folder) => {
                // Without it every file would be missing.
                ensure!(
                    folder.is_dir(),
                    "--image-dir {}: expected a folder with the pictures, found none",
                    folder.display()
                );
                let (max_bytes, budget) = (settings.max_bytes, Budget::new(body_bytes));
                Self::Folder { folder, max_bytes, budget }
            }
        })
    }

    /// Whose a locator is.
    pub(super) fn host(&self, locator: &str) -> String {
        let Self::Http(_) = self else { return NO_HOST.to_owned() };
        let domain = Url::parse(locator).ok().as_ref().and_then(registered_domain);
        domain.unwrap_or_else(|| NO_HOST.to_owned())
    }

    /// Whether one of `urls`' hosts answers anything.
    pub(super) async fn answers(&self, urls: &[String]) -> bool {
        let Self::Http(http) = self else { return true };
        let urls: Vec<Url> = urls
            .iter()
            .filter_map(|url| Url::parse(url).ok())
            .map(|mut url| {
                url.set_path("/robots.txt");
                url.set_query(None);
                url
            })
            .collect();
        let answers = urls.iter().map(|url| http.answers(url));
        futures::future::join_all(answers).await.contains(&true)
    }

    /// Asks. What comes with the attempt is the memory that its bytes hold.
    pub(super) async fn attempt(&self, ask: Ask, mut slot: Slot) -> (Attempt, Held) {
        let (clock, mut trace, mut held) = (Instant::now(), Trace::default(), Held::default());
        let result = match self {
            Self::Http(http) => {
                let got = http.get(&ask, &mut slot, &mut trace).await;
                got.map(|body| {
                    held = body.held;
                    body.bytes
                })
            }
            Self::Folder { folder, max_bytes, budget } => {
                let name = ask.locator.strip_prefix("file:").unwrap_or(&ask.locator);
                folder::read(folder, name, *max_bytes, budget, &mut held).await
            }
        };
        (Attempt::ended(ask, clock.elapsed(), trace, result), held)
    }
}

impl Attempt {
    /// What `ask` came to now.
    pub(super) fn ended(
        ask: Ask,
        elapsed: Duration,
        trace: Trace,
        result: Result<Vec<u8>, Failure>,
    ) -> Self {
        let ended_us = Utc::now().timestamp_micros();
        let outcome = result.as_ref().err().map_or(FetchOutcome::Ok, |failure| failure.outcome);
        let wait = outcome.wait(ask.n_tries, trace.retry_after, share(&ask.locator));
        let next_try_us = wait.map(|wait| {
            ended_us.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
        });
        Self {
            locator: ask.locator,
            attempt: ask.attempt,
            elapsed_ms: elapsed.as_millis() as i64,
            ended_us,
            next_try_us,
            trace,
            result: result.map(Got::new),
        }
    }

    /// `ask`, which was not made because its host is down, or wants to be left alone until then.
    pub(super) fn not_made(ask: Ask, until: Option<Duration>) -> Self {
        let detail = match until {
            Some(left) => format!("its host wants to be left alone for {} s more", left.as_secs()),
            None => "its host answered none of the last requests".to_owned(),
        };
        let trace = Trace { retry_after: until, ..Trace::default() };
        let failure = Failure::new(FetchOutcome::HostDown, detail);
        Self::ended(ask, Duration::ZERO, trace, Err(failure))
    }
}

/// A number from 0 to 1 that is `locator`'s own.
fn share(locator: &str) -> f64 {
    f64::from(crc32fast::hash(locator.as_bytes())) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_an_error_and_no_missing_files() {
        let made = Getter::new(Origin::Folder(PathBuf::from("/gone")), &FetchSettings::default());
        let said = made.err().unwrap().to_string();
        assert_eq!(said, "--image-dir /gone: expected a folder with the pictures, found none");
    }
}
