//! Who is asked next. In: what is to be asked for, and how what was asked ended. Out: the next one whose host may be asked now. Each
//! registered domain has a queue and takes its turn, so that no host waits for another. An origin of it that only fails is left alone, and
//! the host if all of it does (`host.rs`). Never asks anything, and never looks at a clock: it is told the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::fetch::attempt::Ask;
use crate::fetch::host::{Host, Verdict, origin};

/// What waits at one host at most; the rest is left for the next pass.
const MOST_WAITING_AT_HOST: usize = 50_000;

/// What waits in all; from here on a host keeps [`FAIR_WAITING_AT_HOST`] only, so that one is found that can be asked.
const MOST_WAITING: usize = 200_000;

const FAIR_WAITING_AT_HOST: usize = 1_000;

/// Nothing more is taken on.
const FULL: usize = 2 * MOST_WAITING;

/// Between two looks for hosts that can be forgotten, in hosts that were met.
const FORGET_EVERY: usize = 10_000;

/// What became of something to ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits for its turn.
    Waits,
    /// Its host or its origin is down.
    Down(Ask),
    /// Too much waits for its host.
    Left,
}

/// All queues.
pub(super) struct Queues {
    per_host: usize,
    /// Every host begins with it.
    first_limit: usize,
    interval: Duration,
    hosts: BTreeMap<Arc<str>, Host>,
    /// Hosts that may be asked now, in turn.
    turns: VecDeque<Arc<str>>,
    /// Hosts that may be asked later.
    pauses: BTreeSet<(Instant, Arc<str>)>,
    n_waiting: usize,
    n_met: usize,
}

impl Queues {
    /// For the network: at most `per_host` requests to a host at once, `requests_per_sec` in a second (0: no limit).
    pub(super) fn new(per_host: usize, requests_per_sec: u64) -> Self {
        let interval = match requests_per_sec {
            0 => Duration::ZERO,
            n => Duration::from_secs(1) / u32::try_from(n).unwrap_or(u32::MAX),
        };
        Self {
            per_host,
            first_limit: 1,
            interval,
            hosts: BTreeMap::new(),
            turns: VecDeque::new(),
            pauses: BTreeSet::new(),
            n_waiting: 0,
            n_met: 0,
        }
    }

    /// For a folder, which is one host that answers.
    pub(super) fn of_folder(concurrency: usize) -> Self {
        Self { first_limit: concurrency, ..Self::new(concurrency, 0) }
    }

    /// Takes on `ask` of `host`.
    pub(super) fn push(&mut self, host: &str, ask: Ask, now: Instant) -> Pushed {
        let key = match self.hosts.get_key_value(host) {
            Some((key, _)) => Arc::clone(key),
            None => {
                self.n_met += 1;
                if self.n_met.is_multiple_of(FORGET_EVERY) {
                    self.forget_idle(now);
                }
                Arc::from(host)
            }
        };
        let crowded = self.n_waiting >= MOST_WAITING;
        let new = || Host::new(self.first_limit, self.interval);
        let entry = self.hosts.entry(Arc::clone(&key)).or_insert_with(new);
        if entry.is_down(origin(&ask.locator), now) {
            return Pushed::Down(ask);
        }
        let most = if crowded { FAIR_WAITING_AT_HOST } else { MOST_WAITING_AT_HOST };
        if entry.waiting.len() >= most {
            return Pushed::Left;
        }
        entry.waiting.push_back(ask);
        self.n_waiting += 1;
        self.line_up(&key, now);
        Pushed::Waits
    }

    /// The next to ask for, with its host.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Arc<str>, Ask)> {
        self.end_pauses(now);
        while let Some(key) = self.turns.pop_front() {
            let Some(host) = self.hosts.get_mut(&key) else { continue };
            host.in_line = false;
            if host.n_under_way >= host.limit {
                continue;
            }
            // It may have been paused since it stands in line.
            if host.turn().is_some_and(|turn| turn > now) {
                self.line_up(&key, now);
                continue;
            }
            let Some(ask) = host.begin_next(now) else { continue };
            self.n_waiting -= 1;
            self.line_up(&key, now);
            return Some((key, ask));
        }
        None
    }

    /// `host` said before that it wants to be left alone until then.
    pub(super) fn leave_alone(&mut self, host: &str, until: Instant) {
        let new = || Host::new(self.first_limit, self.interval);
        self.hosts.entry(Arc::from(host)).or_insert_with(new).pause_until(until);
    }

    /// A request to the host `key`, at `origin`, that was begun at `began` has ended; `delay` is what its robots.txt wants between
    /// two. What waits for an origin that is down is given back.
    pub(super) fn ended(
        &mut self,
        key: &Arc<str>,
        origin: &str,
        began: Instant,
        verdict: Verdict,
        delay: Option<Duration>,
        now: Instant,
    ) -> Vec<Ask> {
        let Some(host) = self.hosts.get_mut(key) else { return Vec::new() };
        let given_back = host.ended(origin, began, verdict, delay, self.per_host, now);
        self.n_waiting -= given_back.len();
        self.line_up(key, now);
        given_back
    }

    /// Whether a host may be asked now.
    pub(super) fn has_turn(&mut self, now: Instant) -> bool {
        self.end_pauses(now);
        !self.turns.is_empty()
    }

    /// Whether more should be taken on: enough waits, unless all of it waits for hosts that may not be asked.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        let enough = self.n_waiting >= MOST_WAITING_AT_HOST
            && (self.has_turn(now) || self.pauses.is_empty());
        !enough && self.n_waiting < FULL
    }

    /// When the next pause ends.
    pub(super) fn next_turn(&self) -> Option<Instant> {
        self.pauses.first().map(|(until, _)| *until)
    }

    /// What waits for hosts that want to be left alone beyond `latest`, with the time until which they do.
    pub(super) fn give_up(&mut self, latest: Instant) -> Vec<(Ask, Instant)> {
        let (hosts, mut given_up) = (&mut self.hosts, Vec::new());
        self.pauses.retain(|(_, key)| {
            let Some(host) = hosts.get_mut(key) else { return false };
            let Some(until) = host.not_before.filter(|until| *until > latest) else { return true };
            host.in_line = false;
            let waiting = std::mem::take(&mut host.waiting);
            given_up.extend(waiting.into_iter().map(|ask| (ask, until)));
            false
        });
        self.n_waiting -= given_up.len();
        given_up
    }

    /// Lets go of all that waits. What is known of the hosts stays.
    pub(super) fn clear(&mut self) {
        self.turns.clear();
        self.pauses.clear();
        self.n_waiting = 0;
        for host in self.hosts.values_mut() {
            host.in_line = false;
            host.waiting = VecDeque::new();
        }
    }

    fn end_pauses(&mut self, now: Instant) {
        while self.pauses.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.pauses.pop_first() {
                self.turns.push_back(key);
            }
        }
    }

    fn line_up(&mut self, key: &Arc<str>, now: Instant) {
        let Some(host) = self.hosts.get_mut(key) else { return };
        if host.in_line || host.waiting.is_empty() || host.n_under_way >= host.limit {
            return;
        }
        host.in_line = true;
        match host.turn().filter(|turn| *turn > now) {
            Some(until) => {
                self.pauses.insert((until, Arc::clone(key)));
            }
            None => self.turns.push_back(Arc::clone(key)),
        }
    }

    /// Forgets hosts for which nothing waits and nothing is to be remembered: a crawl has millions.
    fn forget_idle(&mut self, now: Instant) {
        self.hosts.retain(|_, host| !host.is_idle(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::attempt::Validators;
    use crate::fetch::host::DOWN_FOR;

    fn ask(name: &str) -> Ask {
        Ask { locator: name.to_owned(), attempt: 1, n_tries: 1, known: Validators::default() }
    }

    fn filled(per_host: usize, hosts: &[(&str, usize)], now: Instant) -> Queues {
        let mut queues = Queues::new(per_host, 0);
        for (host, n) in hosts {
            for n in 0..*n {
                assert_eq!(queues.push(host, ask(&format!("{host}{n}")), now), Pushed::Waits);
            }
        }
        queues
    }

    fn names(queues: &mut Queues, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queues.next(now)).map(|(_, ask)| ask.locator).collect()
    }

    #[test]
    fn hosts_take_turns_and_begin_with_one() {
        let now = Instant::now();
        let mut queues = filled(2, &[("a", 4), ("b", 2), ("c", 1)], now);
        assert_eq!(names(&mut queues, now), ["a0", "b0", "c0"]);
        queues.ended(&"a".into(), "", now, Verdict::Answered, None, now);
        assert_eq!(names(&mut queues, now), ["a1", "a2"]);
        queues.ended(&"a".into(), "", now, Verdict::Answered, None, now);
        assert_eq!(names(&mut queues, now), ["a3"]);
        assert_eq!(queues.n_waiting, 1);
    }

    #[test]
    fn a_host_that_limits_is_slowed() {
        let now = Instant::now();
        let mut queues = filled(8, &[("a", 100)], now);
        let key: Arc<str> = "a".into();
        let mut under_way = names(&mut queues, now).len();
        while under_way < 8 {
            queues.ended(&key, "", now, Verdict::Answered, None, now);
            under_way = under_way - 1 + names(&mut queues, now).len();
        }
        let (pause, then) = (Duration::from_secs(30), now + Duration::from_secs(1));
        for _ in 0..8 {
            queues.ended(&key, "", now, Verdict::Limited(Some(pause)), None, then);
        }
        assert_eq!(names(&mut queues, then), Vec::<String>::new());
        assert_eq!(queues.next_turn(), Some(then + pause));
        assert_eq!(names(&mut queues, then + pause).len(), 4);
    }

    #[test]
    fn a_host_that_limits_again_and_again_is_left_alone_longer_each_time() {
        let mut now = Instant::now();
        let mut queues = filled(8, &[("a", 10)], now);
        let key: Arc<str> = "a".into();
        let mut waits = Vec::new();
        for _ in 0..4 {
            assert_eq!(names(&mut queues, now).len(), 1);
            queues.ended(&key, "", now, Verdict::Limited(None), None, now);
            let turn = queues.next_turn().unwrap();
            waits.push((turn - now).as_secs());
            now = turn;
        }
        assert_eq!(waits, [30, 60, 120, 240]);
    }

    #[test]
    fn a_host_that_was_paused_while_it_stood_in_line_is_not_asked() {
        let now = Instant::now();
        let mut queues = filled(2, &[("a", 9), ("b", 1)], now);
        let key: Arc<str> = "a".into();
        assert_eq!(queues.next(now).unwrap().1, ask("a0"));
        queues.ended(&key, "", now, Verdict::Answered, None, now);
        assert_eq!(queues.next(now).unwrap().1, ask("b0"));
        assert_eq!(queues.next(now).unwrap().1, ask("a1"));
        // One of its two places is free, so it stands in line.
        queues.ended(&key, "", now, Verdict::Limited(Some(Duration::from_secs(9))), None, now);
        assert_eq!(names(&mut queues, now), Vec::<String>::new());
        assert_eq!(queues.next_turn(), Some(now + Duration::from_secs(9)));
    }

    #[test]
    fn hosts_are_forgotten_and_those_in_trouble_are_not() {
        let now = Instant::now();
        let mut queues = Queues::new(1, 0);
        for host in 0..FORGET_EVERY * 3 {
            let name = host.to_string();
            queues.push(&name, ask("x"), now);
            let (key, _) = queues.next(now).unwrap();
            let verdict = if host == 0 { Verdict::Silent } else { Verdict::Answered };
            queues.ended(&key, "", now, verdict, None, now);
        }
        assert!(queues.hosts.len() <= FORGET_EVERY + 1);
        assert!(queues.hosts.contains_key("0"));
    }

    #[test]
    fn a_host_that_only_fails_is_down_and_gives_back_what_waits() {
        let mut now = Instant::now();
        let mut queues = filled(8, &[("a", 10)], now);
        let key: Arc<str> = "a".into();
        let mut given_back = Vec::new();
        let mut asked = 0;
        while given_back.is_empty() {
            now = queues.next_turn().unwrap_or(now);
            assert_eq!(names(&mut queues, now).len(), 1);
            asked += 1;
            let began = now;
            now += Duration::from_secs(10);
            given_back = queues.ended(&key, "", began, Verdict::Silent, None, now);
        }
        assert_eq!((asked, given_back.len(), queues.n_waiting), (5, 5, 0));
        assert_eq!(queues.push("a", ask("late"), now), Pushed::Down(ask("late")));
        assert_eq!(queues.push("a", ask("later"), now + DOWN_FOR), Pushed::Waits);
    }

    #[test]
    fn silences_of_requests_under_way_together_count_as_one() {
        let began = Instant::now();
        let mut queues = filled(16, &[("a", 60)], began);
        let key: Arc<str> = "a".into();
        let mut under_way = names(&mut queues, began).len();
        while under_way < 16 {
            queues.ended(&key, "", began, Verdict::Answered, None, began);
            under_way = under_way - 1 + names(&mut queues, began).len();
        }
        let later = began + Duration::from_secs(10);
        for _ in 0..16 {
            assert!(queues.ended(&key, "", began, Verdict::Silent, None, later).is_empty());
        }
        assert_eq!(names(&mut queues, later).len(), 8);
    }

    #[test]
    fn requests_of_a_host_keep_their_distance() {
        let now = Instant::now();
        let mut queues = Queues::new(4, 10);
        for n in 0..3 {
            queues.push("a", ask(&n.to_string()), now);
        }
        let key: Arc<str> = "a".into();
        assert_eq!(names(&mut queues, now), ["0"]);
        queues.ended(&key, "", now, Verdict::Answered, Some(Duration::from_secs(1)), now);
        assert_eq!(names(&mut queues, now), Vec::<String>::new());
        let then = now + Duration::from_secs(1);
        assert_eq!(queues.next_turn(), Some(then));
        assert_eq!(names(&mut queues, then), ["1"]);
        assert_eq!(queues.next_turn(), Some(then + Duration::from_secs(1)));
    }

    #[test]
    fn a_host_that_answered_before_is_asked_for_a_minute() {
        let began = Instant::now();
        let mut queues = filled(1, &[("a", 20)], began);
        let key: Arc<str> = "a".into();
        let (mut now, mut asked) = (began, 0);
        assert_eq!(names(&mut queues, now).len(), 1);
        queues.ended(&key, "", now, Verdict::Answered, None, now);
        while queues.n_waiting > 0 {
            now = queues.next_turn().unwrap_or(now);
            assert_eq!(names(&mut queues, now).len(), 1);
            queues.ended(&key, "", now, Verdict::Silent, None, now);
            asked += 1;
        }
        assert_eq!((asked, now - began), (8, Duration::from_secs(61)));
    }

    #[test]
    fn a_dead_origin_is_not_the_whole_host() {
        let now = Instant::now();
        let mut queues = Queues::new(1, 0);
        let key: Arc<str> = "a".into();
        for n in 0..6 {
            queues.push("a", ask(&format!("http://dead.a/{n}")), now);
        }
        queues.push("a", ask("http://a:81?x"), now);
        let mut then = now;
        let mut given_back = Vec::new();
        while given_back.is_empty() {
            then = queues.next_turn().unwrap_or(then);
            let (_, asked) = queues.next(then).unwrap();
            given_back =
                queues.ended(&key, origin(&asked.locator), then, Verdict::Silent, None, then);
        }
        assert_eq!(given_back, [ask("http://dead.a/5")]);
        assert_eq!(queues.n_waiting, 1);
        let late = ask("http://dead.a/late");
        assert_eq!(queues.push("a", late.clone(), then), Pushed::Down(late));
        then = queues.next_turn().unwrap();
        assert_eq!(names(&mut queues, then), ["http://a:81?x"]);
        queues.ended(&key, origin("http://a:81?x"), then, Verdict::Answered, None, then);
        assert_eq!(queues.push("a", ask("http://a:81/y"), then), Pushed::Waits);
    }

    #[test]
    fn a_host_whose_origins_are_all_silent_is_down() {
        let mut now = Instant::now();
        let mut queues = Queues::new(1, 0);
        let key: Arc<str> = "a".into();
        for n in 0..100 {
            queues.push("a", ask(&format!("http://{n}.a/")), now);
        }
        let mut n_asked = 0;
        while queues.n_waiting > 0 {
            now = queues.next_turn().unwrap_or(now);
            let (_, asked) = queues.next(now).unwrap();
            queues.ended(&key, origin(&asked.locator), now, Verdict::Silent, None, now);
            n_asked += 1;
        }
        assert_eq!(n_asked, 15);
        assert_eq!(queues.push("a", ask("http://b.a/"), now), Pushed::Down(ask("http://b.a/")));
    }

    #[test]
    fn only_hosts_that_want_to_be_left_alone_are_given_up() {
        let now = Instant::now();
        let mut queues = Queues::new(1, 1);
        queues.leave_alone("b", now + Duration::from_secs(9));
        for host in ["a", "b"] {
            for n in 0..2 {
                queues.push(host, ask(&format!("{host}{n}")), now);
            }
        }
        assert_eq!(names(&mut queues, now), ["a0"]);
        queues.ended(&"a".into(), "", now, Verdict::Answered, None, now);
        let until = now + Duration::from_secs(9);
        assert!(queues.give_up(until).is_empty());
        assert_eq!(queues.give_up(now), [(ask("b0"), until), (ask("b1"), until)]);
        assert_eq!((queues.n_waiting, queues.next_turn()), (1, Some(now + Duration::from_secs(1))));
    }
}
