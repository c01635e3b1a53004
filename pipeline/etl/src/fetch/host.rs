//! One host. In: how requests to it ended. Out: how many may be under way, when it may be asked next, which of its origins are down. It
//! begins with one request at a time and gets more as it answers; one that asks for less gets less. Never looks at a clock: it is told
//! the time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::fetch::attempt::Ask;

/// Requests one after the other without an answer, after which an origin is down.
const SILENCES_TO_DOWN: u32 = 5;

/// The same of a host that has answered before: its pauses are a minute together, which a network may be away.
const SILENCES_TO_DOWN_OF_KNOWN: u32 = 8;

/// A host is down when none of its origins answered so many times what makes one of them down.
const DOWN_ORIGINS: u32 = 3;

/// Silent origins of a host that are counted; one with more begins again.
const MOST_SILENT_ORIGINS: usize = 10_000;

/// After the second silence a host is left alone for so long; after each further one twice as long, up to [`LIMIT_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A pause that is twice as long each time grows no further than this.
const LONGEST_GROWN_PAUSE: Duration = Duration::from_secs(24 * 3600);

const MOST_DOUBLINGS: u32 = 16;

/// A host that limits and does not say for how long is left alone for so long.
const LIMIT_PAUSE: Duration = Duration::from_secs(30);

/// Answers one after the other that a host cannot, after which it gets a pause.
const STRUGGLES_TO_PAUSE: u32 = 3;

/// A host that is down may be asked once more after this.
pub(super) const DOWN_FOR: Duration = Duration::from_secs(600);

/// How a request ended, as far as its host has to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The host answered, whatever it said.
    Answered,
    /// The host wants to be left alone, for so long if it said so.
    Limited(Option<Duration>),
    /// The host answered that it cannot.
    Struggling,
    /// Nothing came from the host.
    Silent,
    /// It says nothing of the host.
    Neutral,
}

/// A host: what waits for it, and what is known of it.
pub(super) struct Host {
    pub(super) waiting: VecDeque<Ask>,
    pub(super) n_under_way: usize,
    pub(super) limit: usize,
    /// Not to be asked before: it wants to be left alone.
    pub(super) not_before: Option<Instant>,
    /// Nor before this, so that requests keep their distance.
    paced_until: Option<Instant>,
    /// Between two requests.
    interval: Duration,
    /// Whether it has ever answered.
    has_answered: bool,
    /// Origins that did not answer last.
    silent: BTreeMap<String, SilentOrigin>,
    /// One after the other, without another answer between.
    silences: u32,
    limits: u32,
    struggles: u32,
    /// The last of them. Of requests that were under way together one counts.
    last_trouble: Option<Instant>,
    down_until: Option<Instant>,
    /// Whether it stands in `turns` or `pauses`.
    pub(super) in_line: bool,
}

#[derive(Default)]
struct SilentOrigin {
    silences: u32,
    down_until: Option<Instant>,
}

impl Host {
    pub(super) fn new(limit: usize, interval: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            n_under_way: 0,
            limit,
            not_before: None,
            paced_until: None,
            interval,
            has_answered: false,
            silent: BTreeMap::new(),
            silences: 0,
            limits: 0,
            struggles: 0,
            last_trouble: None,
            down_until: None,
            in_line: false,
        }
    }

    /// When it may be asked; none: at any time.
    pub(super) fn turn(&self) -> Option<Instant> {
        self.not_before.max(self.paced_until)
    }

    pub(super) fn is_down(&self, origin: &str, now: Instant) -> bool {
        let silent = self.silent.get(origin).and_then(|silent| silent.down_until);
        self.down_until.max(silent).is_some_and(|until| until > now)
    }

    /// The next of what waits, whose request begins now.
    pub(super) fn begin_next(&mut self, now: Instant) -> Option<Ask> {
        let ask = self.waiting.pop_front()?;
        self.n_under_way += 1;
        if self.interval > Duration::ZERO {
            self.paced_until = Some(now + self.interval);
        }
        Some(ask)
    }

    /// A request at `origin` that was begun at `began` has ended; `delay` is what its robots.txt wants between two, `most` how many may
    /// be under way at most. What waits for an origin that is down is given back.
    pub(super) fn ended(
        &mut self,
        origin: &str,
        began: Instant,
        verdict: Verdict,
        delay: Option<Duration>,
        most: usize,
        now: Instant,
    ) -> Vec<Ask> {
        self.n_under_way -= 1;
        if let Some(delay) = delay.filter(|delay| *delay > self.interval) {
            self.interval = delay;
            self.paced_until = self.paced_until.max(Some(began + delay));
        }
        let counts = self.last_trouble.is_none_or(|last| began >= last);
        let mut given_back = Vec::new();
        if !matches!(verdict, Verdict::Silent | Verdict::Neutral) {
            self.heard(origin);
        }
        match verdict {
            Verdict::Answered => {
                (self.limits, self.struggles) = (0, 0);
                self.limit = (self.limit + 1).min(most);
            }
            // Longer than it says if it says so again and again.
            Verdict::Limited(pause) => {
                if counts {
                    self.trouble(now);
                    self.limits += 1;
                }
                let pause = pause.unwrap_or(LIMIT_PAUSE).max(FIRST_PAUSE);
                let grown = pause * doubled(self.limits.saturating_sub(1));
                self.pause_until(now + grown.min(LONGEST_GROWN_PAUSE.max(pause)));
            }
            Verdict::Struggling if counts => {
                self.trouble(now);
                self.struggles += 1;
                if let Some(doublings) = self.struggles.checked_sub(STRUGGLES_TO_PAUSE) {
                    self.pause_until(now + (FIRST_PAUSE * doubled(doublings)).min(LIMIT_PAUSE));
                }
            }
            Verdict::Silent if counts => {
                self.trouble(now);
                given_back = self.not_heard(origin, now);
            }
            Verdict::Struggling | Verdict::Silent | Verdict::Neutral => {}
        }
        given_back
    }

    /// Whether nothing waits for it and nothing of it is to be remembered.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.waiting.is_empty()
            && self.n_under_way == 0
            && self.turn().is_none_or(|turn| turn <= now)
            && self.last_trouble.is_none_or(|last| last + DOWN_FOR <= now)
    }

    /// `origin` has answered.
    fn heard(&mut self, origin: &str) {
        self.silent.remove(origin);
        (self.has_answered, self.silences, self.down_until) = (true, 0, None);
    }

    /// `silent_origin` has not answered; what waits for it, if it is down now.
    fn not_heard(&mut self, silent_origin: &str, now: Instant) -> Vec<Ask> {
        let to_down = if self.has_answered { SILENCES_TO_DOWN_OF_KNOWN } else { SILENCES_TO_DOWN };
        self.silences += 1;
        if let Some(doublings) = self.silences.checked_sub(2) {
            self.pause_until(now + (FIRST_PAUSE * doubled(doublings)).min(LIMIT_PAUSE));
        }
        if self.silences >= DOWN_ORIGINS * to_down {
            self.down_until = Some(now + DOWN_FOR);
            return std::mem::take(&mut self.waiting).into();
        }
        if self.silent.len() >= MOST_SILENT_ORIGINS {
            self.silent.clear();
        }
        let silent = self.silent.entry(silent_origin.to_owned()).or_default();
        silent.silences += 1;
        if silent.silences < to_down {
            return Vec::new();
        }
        silent.down_until = Some(now + DOWN_FOR);
        let waiting = std::mem::take(&mut self.waiting);
        let is_of_it = |ask: &Ask| origin(&ask.locator) == silent_origin;
        let (given_back, rest): (VecDeque<Ask>, VecDeque<Ask>) =
            waiting.into_iter().partition(is_of_it);
        self.waiting = rest;
        given_back.into()
    }

    fn trouble(&mut self, now: Instant) {
        self.last_trouble = Some(now);
        self.limit = (self.limit / 2).max(1);
    }

    pub(super) fn pause_until(&mut self, until: Instant) {
        self.not_before = self.not_before.max(Some(until));
    }
}

/// The scheme, name and port of a URL as it is written; what is none has an empty one.
pub(super) fn origin(locator: &str) -> &str {
    let Some(colon) = locator.find("://") else { return "" };
    let name = colon + "://".len();
    let end = locator[name..].find(['/', '?', '#']).map_or(locator.len(), |at| name + at);
    &locator[..end]
}

/// 1, 2, 4, …, for as long as it makes sense.
fn doubled(times: u32) -> u32 {
    1 << times.min(MOST_DOUBLINGS)
}
