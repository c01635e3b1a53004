//! A crawl that is killed again and again, of a web that fails as the web does. In the end its table has what that of a crawl left alone
//! has, whatever was committed was not asked for again, no limit was passed, and memory was bounded. `TUWEN_TEST_SEED` sets the moments.

mod web;

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tuwen_corpus::id::{hex, id_of};
use tuwen_etl::fetch::{FetchOutcome, Next};

use self::web::{CONCURRENCY, PER_HOST, Random, Web, contact};
use super::names::name_server;
use crate::corpus::Crawl;

/// `fetch.attempts` of the crawls: what always fails is asked for a second time a second later, within the same run.
const ATTEMPTS: usize = 2;

/// The least that `fetch.memory_limit` may be.
const MEMORY_LIMIT_BYTES: usize = 64 << 20;

/// What a process may take at its peak, however long the crawl is. The pictures of the large one are more.
const MOST_RSS_KIB: u64 = 512 << 10;

/// A run that takes longer hangs.
const LONGEST_RUN: Duration = Duration::from_secs(900);

/// Between two looks at a run: a few requests.
const LOOK_EVERY: Duration = Duration::from_millis(2);

struct Size {
    urls: usize,
    hosts: usize,
    kills: usize,
    terminations: usize,
    /// `fetch.chunk_bytes`: there are some commits between two kills.
    chunk_bytes: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crawl_that_is_killed_again_and_again_is_one_that_was_left_alone() {
    let size = Size { urls: 3_000, hosts: 30, kills: 3, terminations: 2, chunk_bytes: 256 << 10 };
    Box::pin(soak(size)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: `make soak` runs it"]
async fn a_large_crawl_that_is_killed_again_and_again_is_one_that_was_left_alone() {
    let size =
        Size { urls: 100_000, hosts: 200, kills: 50, terminations: 20, chunk_bytes: 2 << 20 };
    Box::pin(soak(size)).await;
}

async fn soak(size: Size) {
    let seed = std::env::var("TUWEN_TEST_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seed = seed.unwrap_or(1);
    eprintln!("TUWEN_TEST_SEED={seed} repeats this");
    let began = Instant::now();
    let mut soak = Soak::new(&size);

    soak.begin("alone");
    let first = soak.run(End::Itself, 0).await;
    soak.check();
    for (n, n_asked) in soak.web.n_asked().into_iter().enumerate() {
        let most = soak.web.expected(n).n_requests * soak.last(n).attempt;
        assert!(n_asked <= most, "{}: {n_asked} requests, not {most}", soak.web.urls[n]);
    }
    let n_requests_alone = soak.web.n_answered(first);
    let alone = std::mem::take(&mut soak.committed);
    std::fs::remove_dir_all(&soak.crawl.settings.corpus).unwrap();

    soak.begin("killed");
    for (end, n_requests) in ends(&size, n_requests_alone, &mut Random(seed)) {
        soak.run(end, n_requests).await;
    }
    let n_before = soak.committed.iter().flatten().count();
    assert!((1..size.urls).contains(&n_before), "{n_before} URLs before the last run");
    soak.run(End::Itself, 0).await;
    soak.check();
    for (n, alone) in alone.iter().enumerate() {
        let (killed, alone) = (soak.last(n), alone.as_ref().unwrap());
        let url = &soak.web.urls[n];
        assert_eq!((killed.outcome, &killed.row), (alone.outcome, &alone.row), "{url}");
    }
    let last = soak.run(End::Itself, 0).await;
    assert_eq!(soak.web.n_answered(last), 0, "nothing is left to be asked for");

    let most_at_once = soak.web.check_limits();
    assert!(soak.peak_kib <= MOST_RSS_KIB, "{} KiB at the peak", soak.peak_kib);
    let summary = json!({
        "seconds": began.elapsed().as_secs_f64().round(),
        "urls": size.urls,
        "hosts": size.hosts,
        "kills": size.kills,
        "terminations": size.terminations,
        "peak_rss_mib": soak.peak_kib / 1024,
        "requests": (1..=last).map(|run| soak.web.n_answered(run)).sum::<usize>(),
        "requests_alone": n_requests_alone,
        "asked_again_uncommitted": soak.n_lost,
        "most_at_one_address": most_at_once,
        "seed": seed,
    });
    eprintln!("{summary}");
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Itself,
    /// By SIGKILL.
    Kill,
    /// By SIGTERM.
    Terminate,
}

impl End {
    fn tell(self, run: &mut Child) {
        match self {
            Self::Itself => {}
            Self::Kill => run.kill().unwrap(),
            Self::Terminate => {
                let pid = run.id().to_string();
                assert!(Command::new("kill").arg(pid).status().unwrap().success());
            }
        }
    }

    /// The exit code; none of what a signal has ended.
    fn code(self) -> Option<i32> {
        match self {
            Self::Itself => Some(0),
            Self::Kill => None,
            Self::Terminate => Some(130),
        }
    }
}

/// The ends of runs, and after how many requests of its run each comes: moments at random in the first four fifths of `n_requests`. All of
/// them come before the crawl is done, since what was lost is asked for again.
fn ends(size: &Size, n_requests: usize, random: &mut Random) -> Vec<(End, usize)> {
    let mut ends = [vec![End::Kill; size.kills], vec![End::Terminate; size.terminations]].concat();
    for last in (1..ends.len()).rev() {
        ends.swap(last, random.below(last + 1));
    }
    let mut moments: Vec<usize> = ends.iter().map(|_| random.below(n_requests * 4 / 5)).collect();
    moments.sort_unstable();
    let mut before = 0;
    let distances = moments.into_iter().map(|moment| {
        let distance = moment - before;
        before = moment;
        distance.max(1)
    });
    ends.into_iter().zip(distances).collect()
}

/// The last attempt of a URL that is committed.
#[derive(Clone, Debug)]
struct Committed {
    attempt: usize,
    outcome: FetchOutcome,
    next_try_us: Option<i64>,
    /// What does not depend on when it was asked for: [`Soak::read`] says what.
    row: Vec<String>,
}

impl Committed {
    /// From when on the URL may be asked for again, in microseconds since 1970; none: never.
    fn again_from(&self) -> Option<i64> {
        match self.outcome.next() {
            Next::Got | Next::Final => None,
            Next::Again(_) if self.attempt >= ATTEMPTS => None,
            Next::Again(_) | Next::Later(_) => self.next_try_us,
        }
    }
}

/// The crawls of one web.
struct Soak {
    web: Web,
    crawl: Crawl,
    /// Settings of all runs.
    settings: Vec<String>,
    n_runs: usize,
    peak_kib: u64,
    /// Of each URL what is committed.
    committed: Vec<Option<Committed>>,
    /// Where in the log of attempts those begin that were not read yet.
    next_seq: u64,
    /// URLs that a run asked for, which was killed before it had committed what came.
    n_lost: usize,
}

impl Soak {
    fn new(size: &Size) -> Self {
        let (web, crawl) = (Web::start(size.urls, size.hosts), Crawl::new());
        let rows: Vec<String> =
            web.urls.iter().enumerate().map(|(n, url)| format!("a,{url},{n}.png")).collect();
        crawl.csv("urls.csv", &rows);
        let settings = vec![
            format!("fetch.attempts={ATTEMPTS}"),
            format!("fetch.chunk_bytes={}", size.chunk_bytes),
            "fetch.commit_secs=1".to_owned(),
            format!("fetch.concurrency={CONCURRENCY}"),
            format!("fetch.memory_limit={MEMORY_LIMIT_BYTES}"),
            format!("fetch.name_server={}", name_server()),
            format!("fetch.per_host={PER_HOST}"),
            "fetch.proxy=ignore".to_owned(),
            "fetch.read_timeout_secs=2".to_owned(),
        ];
        Self {
            web,
            crawl,
            settings,
            n_runs: 0,
            peak_kib: 0,
            committed: Vec::new(),
            next_seq: 0,
            n_lost: 0,
        }
    }

    /// Begins a crawl into a corpus of its own, of a web that has not been asked for anything.
    fn begin(&mut self, name: &str) {
        self.crawl.settings.corpus = self.crawl.folder.path().join(name).display().to_string();
        self.web.forget();
        (self.committed, self.next_seq) = (vec![None; self.web.urls.len()], 0);
    }

    fn last(&self, n: usize) -> &Committed {
        let committed = self.committed[n].as_ref();
        committed.unwrap_or_else(|| panic!("{}: nothing is committed", self.web.urls[n]))
    }

    /// Runs the command until it ends or, when `n_requests` of its own are answered, is ended. The run's number.
    async fn run(&mut self, end: End, n_requests: usize) -> usize {
        self.n_runs += 1;
        let run = self.n_runs;
        let log = self.crawl.folder.path().join(format!("run-{run}.log"));
        let mut process = self.spawn(run, File::create(&log).unwrap());
        let (began, mut is_told) = (Instant::now(), false);
        let status = loop {
            self.peak_kib = self.peak_kib.max(peak_kib(process.id()).unwrap_or(0));
            if let Some(status) = process.try_wait().unwrap() {
                break status;
            }
            if !is_told && self.web.n_answered(run) >= n_requests {
                is_told = true;
                end.tell(&mut process);
            }
            if began.elapsed() > LONGEST_RUN {
                process.kill().unwrap();
                panic!("run {run} hangs: {}", std::fs::read_to_string(&log).unwrap());
            }
            std::thread::sleep(LOOK_EVERY);
        };
        let said = std::fs::read_to_string(&log).unwrap();
        assert_eq!(status.code(), end.code(), "run {run}, {end:?}: {said}");

        let asked = self.web.asked_by(run);
        let mut attempts = BTreeMap::new();
        for (n, at_us) in asked {
            let committed = self.committed[n].as_ref();
            let is_due = |one: &Committed| one.again_from().is_some_and(|from| from <= at_us);
            assert!(
                committed.is_none_or(is_due),
                "run {run} asked for {} at {at_us} although there was {committed:?}",
                self.web.urls[n]
            );
            attempts.insert(n, committed.map_or(0, |one| one.attempt));
        }
        self.read().await;
        let is_lost = |(n, before): &(usize, usize)| {
            self.committed[*n].as_ref().is_none_or(|one| one.attempt == *before)
        };
        let n_lost = attempts.into_iter().filter(is_lost).count();
        assert!(end == End::Kill || n_lost == 0, "run {run}, {end:?}: {n_lost} lost: {said}");
        self.n_lost += n_lost;
        run
    }

    fn spawn(&self, run: usize, log: File) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tuwen"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TUWEN_")) {
            command.env_remove(name);
        }
        let corpus = &self.crawl.settings.corpus;
        command.args(["fetch", "urls.csv", "--allow-private-hosts", "--corpus", corpus]);
        for setting in self.settings.iter().chain([&format!("fetch.contact={}", contact(run))]) {
            command.args(["--set", setting]);
        }
        command.current_dir(self.crawl.folder.path());
        command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// Reads what was committed since the last time. Attempts of a URL are numbered one after the other.
    async fn read(&mut self) {
        let sql = format!(
            "select seq, locator, attempt, outcome, cast(next_try_at as bigint), image_id,
                encode(sha256(bytes), 'hex'), bytes_len, http_status, media_type, content_type, etag, final_url
            from originals where seq >= {} order by seq",
            self.next_seq
        );
        for row in Box::pin(self.crawl.query(&sql)).await {
            let n: usize = row[1].rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(row[1], self.web.urls[n]);
            let attempt: usize = row[2].parse().unwrap();
            let before = self.committed[n].as_ref().map_or(0, |one| one.attempt);
            assert_eq!(attempt, before + 1, "{}", row[1]);
            let named = |outcome: &&FetchOutcome| outcome.name() == row[3];
            self.committed[n] = Some(Committed {
                attempt,
                outcome: *FetchOutcome::ALL.iter().find(named).unwrap(),
                next_try_us: row[4].parse().ok(),
                row: row[5..].to_vec(),
            });
            self.next_seq = row[0].parse::<u64>().unwrap() + 1;
        }
    }

    /// Every URL has come to what its host has for it, and what may pass was tried as often as is set.
    fn check(&self) {
        for (n, url) in self.web.urls.iter().enumerate() {
            let (last, expected) = (self.last(n), self.web.expected(n));
            let (id, length) = match &expected.bytes {
                Some(bytes) => (hex(id_of(bytes)), bytes.len().to_string()),
                None => ("null".to_owned(), "null".to_owned()),
            };
            assert_eq!(last.outcome, expected.outcome, "{url}: {last:?}");
            assert_eq!((&last.row[0], &last.row[2]), (&id, &length), "{url}: {last:?}");
            // Of the bytes as they are stored; the identity is the first half of it.
            assert!(last.row[1].starts_with(&id), "{url}: {last:?}");
            let is_due = last.again_from().is_some() && last.outcome != FetchOutcome::Empty;
            assert!(!is_due, "{url}: {last:?}");
        }
    }
}

/// The most memory that process `pid` has had since it began (proc(5)); none if it has ended.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
