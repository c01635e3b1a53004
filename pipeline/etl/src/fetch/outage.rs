//! A network that is down. In: attempts as they end. Out: those that can be believed. As long as hosts answer, one that does not is at
//! fault itself; when nobody answers any more, hosts that did are asked once more, and if they are silent too nothing of the silence
//! is recorded: it is a bad run, not a million bad URLs. Where none ever did, the first answer is waited for. Where there are but one or two
//! hosts, and none else to ask, nobody can tell their silence from the network's: it is believed, of them alone.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::fetch::pass::Arrived;
use crate::fetch::{Attempt, FetchOutcome};

/// Attempts without an answer, one after the other, that are suspicious.
const SUSPICIOUS: usize = 20;

/// Attempts without an answer that wait for one at most.
const MOST_SILENT: usize = 10_000;

/// At the end of so many hosts at least, or if none ever answered: one or two may well be down.
pub(super) const SUSPICIOUS_HOSTS: usize = 3;

/// Hosts that answered, to be asked once more.
const WITNESSES: usize = 3;

/// When they answered, silence is believed for so long, ….
const TRUST: Duration = Duration::from_secs(30);

/// … and so many times.
const TRUSTED: usize = 1_000;

/// What was heard, and what was not.
pub(super) struct Outage {
    /// Silent hosts that are suspicious at the end of a pass.
    hosts_at_end: usize,
    silent: Vec<Arrived>,
    /// Those of them whose hosts were asked.
    n_silent: usize,
    silent_hosts: HashSet<Arc<str>>,
    witnesses: VecDeque<(Arc<str>, String)>,
    trusted_until: Option<Instant>,
    n_trusted: usize,
    /// Where nobody answered, the hosts that are silent by themselves; none: all that are.
    trusted_hosts: Option<HashSet<Arc<str>>>,
    /// Until when a first answer is waited for.
    patient_until: Option<Instant>,
}

/// That no host answers any more, as an error.
#[derive(Debug)]
pub(super) struct NoAnswer(pub(super) String);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoAnswer {}

impl Outage {
    /// Of a crawl of its own, or of a part of one that `is_part` of many hosts: then the silence of a single one, the last that was
    /// asked, may be that of all.
    pub(super) fn new(is_part: bool) -> Self {
        Self {
            hosts_at_end: if is_part { 1 } else { SUSPICIOUS_HOSTS },
            silent: Vec::new(),
            n_silent: 0,
            silent_hosts: HashSet::new(),
            witnesses: VecDeque::new(),
            trusted_until: None,
            n_trusted: 0,
            trusted_hosts: None,
            patient_until: None,
        }
    }

    /// Takes an attempt, and gives those that can be believed.
    pub(super) fn take(&mut self, arrived: Arrived) -> Vec<Attempt> {
        let outcome = arrived.attempt.outcome();
        if is_silence(&arrived.attempt) {
            let is_known = |hosts: &HashSet<Arc<str>>| hosts.contains(&arrived.host);
            let is_trusted = self.trusted_until.is_some_and(|until| Instant::now() < until)
                && self.trusted_hosts.as_ref().is_none_or(is_known);
            if !is_trusted || self.n_trusted == 0 {
                self.silent_hosts.insert(Arc::clone(&arrived.host));
                self.n_silent += 1;
                self.silent.push(arrived);
                return Vec::new();
            }
            self.n_trusted -= 1;
        }
        if outcome == FetchOutcome::HostDown && !self.silent.is_empty() {
            self.silent.push(arrived);
            return Vec::new();
        }
        let mut believed = Vec::new();
        if arrived.attempt.trace.was_answered {
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
        let is_patient = self.patient_until.is_some_and(|until| Instant::now() < until);
        match at_end {
            true => !self.is_of_few(),
            false => self.silent.len() >= MOST_SILENT || !is_patient && self.n_silent >= SUSPICIOUS,
        }
    }

    /// Whether so few hosts are silent that they may well be down, if nobody else can be asked.
    fn is_of_few(&self) -> bool {
        self.silent_hosts.len() < self.hosts_at_end
    }

    /// The same, of `witnesses` that are of the silent hosts themselves.
    pub(super) fn is_alone(&self, witnesses: &[String]) -> bool {
        let is_silent = |witness: &String| {
            let host = host_of(witness);
            self.silent.iter().any(|arrived| host_of(&arrived.attempt.locator) == host)
        };
        self.is_of_few() && witnesses.iter().all(is_silent)
    }

    /// Waits for a first answer for so long from the first time on; whether it still does.
    pub(super) fn is_patient(&mut self, patience: Duration) -> bool {
        let now = Instant::now();
        let until = *self.patient_until.get_or_insert(now + patience);
        now < until && self.silent.len() < MOST_SILENT
    }

    /// URLs whose hosts answered in this run, the last first.
    pub(super) fn witnesses(&self) -> Vec<String> {
        self.witnesses.iter().map(|(_, url)| url.clone()).collect()
    }

    /// The silence is the hosts' own: of all, or, where nobody else answered, of those that are silent now.
    pub(super) fn trust(&mut self, has_answer: bool) -> Vec<Attempt> {
        (self.trusted_until, self.n_trusted) = (Some(Instant::now() + TRUST), TRUSTED);
        self.trusted_hosts = (!has_answer).then(|| self.silent_hosts.clone());
        self.believe()
    }

    /// Gives all that was held back.
    pub(super) fn believe(&mut self) -> Vec<Attempt> {
        self.silent_hosts.clear();
        self.n_silent = 0;
        self.patient_until = None;
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

/// Whether no host said anything.
fn is_silence(attempt: &Attempt) -> bool {
    attempt.outcome().is_silence() && !attempt.trace.was_answered
}

/// The host of a URL.
fn host_of(locator: &str) -> Option<String> {
    Url::parse(locator).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::attempt::{Ask, Failure, Trace, Validators};

    fn arrived(locator: &str, outcome: FetchOutcome, was_answered: bool) -> Arrived {
        let locator = locator.to_owned();
        let ask = Ask { locator, attempt: 1, n_tries: 1, known: Validators::default() };
        let trace = Trace { was_answered, ..Trace::default() };
        let failure = Failure::new(outcome, "");
        let attempt = Attempt::ended(ask, Duration::ZERO, trace, Err(failure));
        Arrived::new(attempt, "h".into())
    }

    #[test]
    fn a_first_answer_is_waited_for_and_makes_the_silence_believed() {
        let mut outage = Outage::new(false);
        let silent = || arrived("http://h/1", FetchOutcome::UnknownHost, false);
        for _ in 0..SUSPICIOUS {
            assert!(!outage.is_suspicious(false));
            assert!(outage.take(silent()).is_empty());
        }
        assert!(outage.is_suspicious(false));
        assert!(outage.is_patient(Duration::from_secs(60)));
        assert!(!outage.is_suspicious(false));
        assert!(outage.is_alone(&[]) && outage.is_alone(&["http://h/9".to_owned()]));
        assert!(!outage.is_alone(&["http://h/9".to_owned(), "http://i/9".to_owned()]));
        while !outage.is_suspicious(false) {
            assert!(outage.take(silent()).is_empty());
        }
        assert_eq!(outage.silent.len(), MOST_SILENT);
        assert!(!outage.is_patient(Duration::from_secs(60)));
        // Its robots.txt was there.
        let answered = arrived("http://h/1", FetchOutcome::Timeout, true);
        assert_eq!(outage.take(answered).len(), MOST_SILENT + 1);
        assert_eq!(outage.witnesses(), ["http://h/1"]);
    }

    #[test]
    fn silence_is_trusted_only_so_often() {
        let mut outage = Outage::new(false);
        outage.trust(true);
        for n in 0..=TRUSTED {
            let believed = outage.take(arrived("http://h/1", FetchOutcome::Connect, false));
            assert_eq!(believed.len(), usize::from(n < TRUSTED));
        }
        // Nobody else could be asked: only those that were silent then are.
        outage.trust(false);
        assert_eq!(outage.take(arrived("http://h/1", FetchOutcome::Connect, false)).len(), 1);
        let mut other = arrived("http://i/1", FetchOutcome::Connect, false);
        other.host = "i".into();
        assert!(outage.take(other).is_empty());
    }

    #[test]
    fn a_part_of_a_crawl_does_not_believe_the_silence_of_its_only_host() {
        for (is_part, n_hosts, expected) in
            [(false, 2, false), (false, 3, true), (true, 0, false), (true, 1, true)]
        {
            let mut outage = Outage::new(is_part);
            let hosts = (0..n_hosts).map(|host: u8| Arc::<str>::from(host.to_string()));
            outage.silent_hosts.extend(hosts);
            assert_eq!(outage.is_suspicious(true), expected, "{is_part} {n_hosts}");
            assert!(!outage.is_suspicious(false));
        }
    }
}
