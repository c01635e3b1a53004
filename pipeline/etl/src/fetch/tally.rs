//! How a crawl goes. In: attempts as they end. Out: a line for people (bytes a second, how many are good, who fails most), and the same
//! as metrics.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use indicatif::HumanBytes;
use tuwen_corpus::report::{Figures, rate};

use crate::fetch::{Attempt, FetchOutcome, Next};

/// Hosts that are counted; of a crawl's many thousand those that fail most are among the first soon enough.
const COUNTED_HOSTS: usize = 10_000;

/// Hosts that are named.
const NAMED_HOSTS: usize = 3;

/// Counts since the beginning of the run.
pub(super) struct Tally {
    from_files: bool,
    began: Instant,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    outcomes: BTreeMap<&'static str, u64>,
    wire_bytes: u64,
    /// The same, compressed bodies as they are unpacked where that is more.
    brought_bytes: u64,
    failures: HashMap<Arc<str>, u64>,
}

impl Tally {
    pub(super) fn new(from_files: bool) -> Self {
        Self { from_files, began: Instant::now(), counts: Mutex::default() }
    }

    pub(super) fn count(&self, attempt: &Attempt, host: &Arc<str>) {
        let mut counts = self.counts();
        *counts.outcomes.entry(attempt.outcome().name()).or_default() += 1;
        counts.wire_bytes += attempt.trace.wire_bytes;
        counts.brought_bytes += attempt.trace.wire_bytes.max(attempt.bytes_len());
        if attempt.outcome().next() == Next::Got {
            return;
        }
        if let Some(n) = counts.failures.get_mut(host) {
            *n += 1;
        } else if counts.failures.len() < COUNTED_HOSTS {
            counts.failures.insert(Arc::clone(host), 1);
        }
    }

    /// Counts `n` attempts of one outcome, whose hosts are not known here.
    pub(super) fn add(&self, outcome: FetchOutcome, n: u64, wire_bytes: u64, brought_bytes: u64) {
        let mut counts = self.counts();
        *counts.outcomes.entry(outcome.name()).or_default() += n;
        counts.wire_bytes += wire_bytes;
        counts.brought_bytes += brought_bytes;
    }

    /// Bytes that `fetch.byte_budget` is spent on: of bodies as they came, or as they are unpacked where that is more.
    pub(super) fn brought_bytes(&self) -> u64 {
        self.counts().brought_bytes
    }

    /// The line, and its figures.
    pub(super) fn figures(&self) -> Figures {
        let counts = self.counts();
        let n_attempts: u64 = counts.outcomes.values().sum();
        let count = |outcome: FetchOutcome| counts.outcomes.get(outcome.name()).copied();
        let n_ok = count(FetchOutcome::Ok).unwrap_or(0);
        let n_got = n_ok + count(FetchOutcome::NotModified).unwrap_or(0);
        let percent = 100.0 * n_got as f64 / n_attempts.max(1) as f64;
        let secs = self.began.elapsed().as_secs_f64().max(1e-3);
        let (images_per_sec, bytes_per_sec) = (n_ok as f64 / secs, counts.wire_bytes as f64 / secs);
        let figures = Figures {
            text: format!("{percent:.0} % ok"),
            ok_percent: Some(percent),
            images_per_sec: Some(images_per_sec),
            bytes_per_sec: Some(bytes_per_sec).filter(|_| !self.from_files),
        };
        if self.from_files {
            return figures;
        }
        let per_sec = HumanBytes(bytes_per_sec as u64);
        let mut text = format!("{} images/s, {per_sec}/s, {}", rate(images_per_sec), figures.text);
        let mut failures: Vec<(&Arc<str>, &u64)> = counts.failures.iter().collect();
        failures.sort_unstable_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let named: Vec<String> =
            failures.iter().take(NAMED_HOSTS).map(|(host, n)| format!("{host} {n}")).collect();
        if !named.is_empty() {
            text = format!("{text}, failing: {}", named.join(", "));
        }
        Figures { text, ..figures }
    }

    /// The text of Prometheus' format.
    pub(super) fn metrics(&self) -> String {
        let counts = self.counts();
        let mut text = String::from(
            "# HELP tuwen_fetch_attempts_total Attempts that ended, by outcome.\n# TYPE tuwen_fetch_attempts_total counter\n",
        );
        for outcome in FetchOutcome::ALL {
            let name = outcome.name();
            let n = counts.outcomes.get(name).copied().unwrap_or(0);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "tuwen_fetch_attempts_total{{outcome=\"{name}\"}} {n}");
        }
        let _ = write!(
            text,
            "# HELP tuwen_fetch_wire_bytes_total Bytes of bodies that came.\n# TYPE tuwen_fetch_wire_bytes_total counter\n\
             tuwen_fetch_wire_bytes_total {}\n\
             # HELP tuwen_fetch_seconds Seconds since the run began.\n# TYPE tuwen_fetch_seconds gauge\n\
             tuwen_fetch_seconds {:.3}\n",
            counts.wire_bytes,
            self.began.elapsed().as_secs_f64()
        );
        text
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fetch::attempt::{Ask, Validators};
    use crate::fetch::{Failure, Trace};

    /// An attempt that brought `wire_bytes`.
    fn attempt(wire_bytes: u64, result: Result<Vec<u8>, Failure>) -> Attempt {
        let locator = "http://a/1".to_owned();
        let ask = Ask { locator, attempt: 1, n_tries: 1, known: Validators::default() };
        let trace = Trace { wire_bytes, ..Trace::default() };
        Attempt::ended(ask, Duration::ZERO, trace, result)
    }

    #[test]
    fn bodies_count_as_they_came_or_as_they_are_unpacked() {
        let tally = Tally::new(false);
        // One that was compressed, and one of which a part came twice.
        for (wire_bytes, n_bytes) in [(10, 1000), (500, 300)] {
            tally.count(&attempt(wire_bytes, Ok(vec![0; n_bytes])), &Arc::from("a"));
        }
        assert_eq!(tally.brought_bytes(), 1500);
        assert!(tally.metrics().contains("\ntuwen_fetch_wire_bytes_total 510\n"));
        let figures = tally.figures();
        assert_eq!(figures.ok_percent, Some(100.0));
        assert!(figures.images_per_sec > Some(0.0) && figures.bytes_per_sec > Some(0.0));
        assert!(figures.text.ends_with("100 % ok"), "{}", figures.text);
    }

    #[test]
    fn what_is_still_the_same_is_no_failure() {
        let tally = Tally::new(false);
        let same = Failure::new(FetchOutcome::NotModified, "304 Not Modified");
        tally.count(&attempt(0, Err(same)), &Arc::from("a"));
        let figures = tally.figures();
        assert_eq!((figures.ok_percent, figures.images_per_sec), (Some(100.0), Some(0.0)));
        assert!(figures.text.ends_with("100 % ok"), "{}", figures.text);
    }
}
