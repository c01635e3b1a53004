//! A network that is down. In: attempts as they end. Out: those that can be believed. As long as hosts answer, one that does not is at
//! fault itself; when nobody answers any more, hosts that did are asked once more, and if they are silent too nothing of the silence
//! is recorded: it is a bad run, not a million bad URLs.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::fetch::asking::Arrived;
use crate::fetch::{Attempt, FetchOutcome};

/// Attempts without an answer, one after the other, that are suspicious.
const SUSPICIOUS: usize = 20;

/// Of so many hosts at least: one or two may well be down.
const SUSPICIOUS_HOSTS: usize = 3;

/// Hosts that answered, to be asked once more.
const WITNESSES: usize = 3;

/// When they answered, silence is believed for so long.
const TRUST: Duration = Duration::from_secs(30);

/// What was heard, and what was not.
#[derive(Default)]
pub(super) struct Outage {
    silent: Vec<Arrived>,
    silent_hosts: HashSet<Arc<str>>,
    witnesses: VecDeque<(Arc<str>, String)>,
    trusted_until: Option<Instant>,
}

impl Outage {
    /// Takes an attempt, and gives those that can be believed.
    pub(super) fn take(&mut self, arrived: Arrived) -> Vec<Attempt> {
        let outcome = arrived.attempt.outcome();
        let is_silence = outcome.is_silence() && arrived.attempt.trace.http_status.is_none();
        let is_trusted = self.trusted_until.is_some_and(|until| Instant::now() < until);
        if is_silence && !is_trusted {
            self.silent_hosts.insert(Arc::clone(&arrived.host));
            self.silent.push(arrived);
            return Vec::new();
        }
        if outcome == FetchOutcome::HostDown && !self.silent.is_empty() {
            self.silent.push(arrived);
            return Vec::new();
        }
        let mut believed = Vec::new();
        if arrived.attempt.trace.http_status.is_some() {
            self.remember(&arrived);
            believed = self.believe();
        }
        believed.push(arrived.attempt);
        believed
    }

    fn remember(&mut self, arrived: &Arrived) {
        if self.witnesses.iter().any(|(host, _)| *host == arrived.host) {
            return;
        }
        self.witnesses.truncate(WITNESSES - 1);
        self.witnesses.push_front((Arc::clone(&arrived.host), arrived.attempt.locator.clone()));
    }

    /// Whether the silence is suspicious; at the end of a pass, by hosts alone.
    pub(super) fn is_suspicious(&self, at_end: bool) -> bool {
        self.silent_hosts.len() >= SUSPICIOUS_HOSTS && (at_end || self.silent.len() >= SUSPICIOUS)
    }

    /// URLs whose hosts answered in this run, the last first.
    pub(super) fn witnesses(&self) -> Vec<String> {
        self.witnesses.iter().map(|(_, url)| url.clone()).collect()
    }

    /// A witness has answered: the silence is the hosts' own.
    pub(super) fn trust(&mut self) -> Vec<Attempt> {
        self.trusted_until = Some(Instant::now() + TRUST);
        self.believe()
    }

    /// Gives all that was held back.
    pub(super) fn believe(&mut self) -> Vec<Attempt> {
        self.silent_hosts.clear();
        self.silent.drain(..).map(|arrived| arrived.attempt).collect()
    }

    /// What nobody answered, for a message; it is forgotten.
    pub(super) fn describe(&mut self) -> String {
        let mut outcomes = BTreeMap::new();
        for arrived in &self.silent {
            *outcomes.entry(arrived.attempt.outcome().name()).or_insert(0) += 1;
        }
        let detail = self.silent.iter().find_map(|arrived| arrived.attempt.result.as_ref().err());
        let detail = detail.map(|failure| failure.detail.clone()).unwrap_or_default();
        let counts: Vec<String> =
            outcomes.iter().map(|(outcome, n)| format!("{outcome} {n}")).collect();
        let text = format!(
            "no host answers any more: the last {} requests, to {} hosts, got no answer ({}; the first: {detail})",
            self.silent.len(),
            self.silent_hosts.len(),
            counts.join(", ")
        );
        self.believe();
        text
    }
}
