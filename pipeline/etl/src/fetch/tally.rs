//! How a crawl goes. In: attempts as they end. Out: a line for people (bytes a second, how many are good, who fails most), and the same
//! as metrics.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use indicatif::HumanBytes;
use tuwen_corpus::report::rate;

use crate::fetch::{Attempt, FetchOutcome};

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
        if attempt.outcome() == FetchOutcome::Ok {
            return;
        }
        if let Some(n) = counts.failures.get_mut(host) {
            *n += 1;
        } else if counts.failures.len() < COUNTED_HOSTS {
            counts.failures.insert(Arc::clone(host), 1);
        }
    }

    /// Bytes of bodies that came.
    pub(super) fn wire_bytes(&self) -> u64 {
        self.counts().wire_bytes
    }

    /// The line.
    pub(super) fn line(&self) -> String {
        let counts = self.counts();
        let n_attempts: u64 = counts.outcomes.values().sum();
        let n_ok = counts.outcomes.get(FetchOutcome::Ok.name()).copied().unwrap_or(0);
        let percent = 100.0 * n_ok as f64 / n_attempts.max(1) as f64;
        if self.from_files {
            return format!("{percent:.0} % ok");
        }
        let secs = self.began.elapsed().as_secs_f64().max(1e-3);
        let per_sec = HumanBytes((counts.wire_bytes as f64 / secs) as u64);
        let mut line =
            format!("{} images/s, {per_sec}/s, {percent:.0} % ok", rate(n_ok as f64 / secs));
        let mut failures: Vec<(&Arc<str>, &u64)> = counts.failures.iter().collect();
        failures.sort_unstable_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let named: Vec<String> =
            failures.iter().take(NAMED_HOSTS).map(|(host, n)| format!("{host} {n}")).collect();
        if !named.is_empty() {
            line = format!("{line}, failing: {}", named.join(", "));
        }
        line
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
