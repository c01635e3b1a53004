//! A small web that fails as the web does. In: how many URLs and hosts. Out: what each URL must come to, which run asked for it when, and
//! which limits were passed. Each host has an address of its own, but for the first two, which are two names of one.

use std::collections::BTreeMap;
use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::runtime::Handle;
use tuwen_etl::fetch::FetchOutcome;

use crate::fetch::raw;
use crate::server::{Answer, Request, Server};

/// Requests at once to one address, and in all, that a run is allowed.
pub(super) const PER_HOST: usize = 4;
pub(super) const CONCURRENCY: usize = 64;

/// Two owners, at one address.
const NAMES: [&str; 2] = ["one.example.com", "two.example.org"];

/// How long a host that limits wants to be left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

const OK: &str = "200 OK";

/// What a host does when a URL is asked for.
#[derive(Clone, Copy, Debug)]
enum Act {
    Picture,
    Slow,
    /// Breaks off, and gives the rest to who asks for it.
    Resumed,
    /// To another host, which has the picture.
    Redirect,
    /// 429 the first time.
    LimitOnce,
    /// 503 the first time.
    FailOnce,
    Fail,
    Missing,
    Page,
    Empty,
    OptedOut,
    Cut,
    Reset,
    Loop,
    /// Says nothing more in the middle of the body.
    Silent,
}

/// Of a hundred URLs of each host, how many are more than a picture at once. Twenty fail, from [`Act::LimitOnce`] on.
const OF_A_HUNDRED: [(Act, usize); 14] = [
    (Act::Slow, 1),
    (Act::Resumed, 2),
    (Act::Redirect, 2),
    (Act::LimitOnce, 1),
    (Act::FailOnce, 1),
    (Act::Fail, 1),
    (Act::Missing, 6),
    (Act::Page, 3),
    (Act::Empty, 1),
    (Act::OptedOut, 1),
    (Act::Cut, 2),
    (Act::Reset, 2),
    (Act::Loop, 1),
    (Act::Silent, 1),
];

impl Act {
    /// Of a host's URL with this number.
    fn of(number: usize) -> Self {
        let mut left = number % 100;
        for (act, n) in OF_A_HUNDRED {
            if left < n {
                return act;
            }
            left -= n;
        }
        Self::Picture
    }

    /// How it ends, after as many tries as there are.
    fn outcome(self) -> FetchOutcome {
        match self {
            Self::Picture
            | Self::Slow
            | Self::Resumed
            | Self::Redirect
            | Self::LimitOnce
            | Self::FailOnce => FetchOutcome::Ok,
            Self::Fail => FetchOutcome::ServerError,
            Self::Missing => FetchOutcome::HttpStatus,
            Self::Page => FetchOutcome::NotAnImage,
            Self::Empty => FetchOutcome::Empty,
            Self::OptedOut => FetchOutcome::OptedOut,
            Self::Cut => FetchOutcome::Truncated,
            Self::Reset => FetchOutcome::Broken,
            Self::Loop => FetchOutcome::TooManyRedirects,
            Self::Silent => FetchOutcome::Timeout,
        }
    }

    /// Requests that one attempt takes at most.
    fn n_requests(self) -> usize {
        match self {
            Self::Resumed => 2,
            // What breaks before an answer is sent three times.
            Self::Reset => 3,
            // Five redirects are followed.
            Self::Loop => 6,
            _ => 1,
        }
    }
}

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.number() % n as u64) as usize
    }
}

/// The picture at URL `n`, as far as a crawl looks at it: how a PNG begins, and 8 kB that no other has.
fn picture(n: usize) -> Vec<u8> {
    let mut random = Random(n as u64);
    let n_words = 100 + random.below(1_900);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend((0..n_words).flat_map(|_| random.number().to_le_bytes()));
    bytes
}

/// What a run says of itself with each request.
pub(super) fn contact(run: usize) -> String {
    format!("run-{run}@example.com")
}

/// The run that asks.
fn run_of(request: &Request) -> Option<usize> {
    request.headers.get("user-agent")?.split("run-").nth(1)?.split('@').next()?.parse().ok()
}

/// What a URL must come to.
pub(super) struct Expected {
    pub(super) outcome: FetchOutcome,
    pub(super) bytes: Option<Vec<u8>>,
    /// Requests that one attempt takes at most.
    pub(super) n_requests: usize,
}

/// The hosts, while they answer.
pub(super) struct Web {
    /// URL n is the one that ends with /n.
    pub(super) urls: Vec<String>,
    hosts: Arc<Hosts>,
    _servers: Vec<Server>,
}

impl Web {
    pub(super) fn start(n_urls: usize, n_hosts: usize) -> Self {
        let hosts = Arc::new(Hosts {
            bases: OnceLock::new(),
            seen: Mutex::new(Seen { asked: vec![Vec::new(); n_urls], ..Seen::default() }),
            runtime: Handle::current(),
        });
        let servers: Vec<Server> = (1..n_hosts)
            .map(|address| {
                let hosts = Arc::clone(&hosts);
                let answer_of = move |path: &str| -> Answer {
                    let (hosts, path) = (Arc::clone(&hosts), path.to_owned());
                    raw(move |request, stream| hosts.answer(address, &path, request, stream))
                };
                // A name server of the tests leads all names to the first.
                match address {
                    1 => Server::answering("127.0.0.1", answer_of),
                    _ => Server::answering(&format!("127.0.12.{address}"), answer_of),
                }
            })
            .collect();
        let port = servers[0].base.rsplit(':').next().unwrap();
        let mut bases = NAMES.map(|name| format!("http://{name}:{port}")).to_vec();
        bases.extend(servers[1..].iter().map(|server| server.base.clone()));
        let urls = (0..n_urls).map(|n| format!("{}/{n}", bases[n % n_hosts])).collect();
        hosts.bases.set(bases).unwrap();
        Self { urls, hosts, _servers: servers }
    }

    pub(super) fn expected(&self, n: usize) -> Expected {
        let act = self.hosts.act(n);
        let outcome = act.outcome();
        let bytes = (outcome == FetchOutcome::Ok).then(|| picture(n));
        Expected { outcome, bytes, n_requests: act.n_requests() }
    }

    /// Forgets which URLs were asked for, for another crawl.
    pub(super) fn forget(&self) {
        self.hosts.seen.lock().unwrap().asked.iter_mut().for_each(Vec::clear);
    }

    /// Requests of `run` that were answered, those for robots.txt and at the end of redirects too.
    pub(super) fn n_answered(&self, run: usize) -> usize {
        self.hosts.seen.lock().unwrap().n_answered.get(&run).copied().unwrap_or(0)
    }

    /// The URLs that `run` asked for, each as often as it did, and when in microseconds since 1970.
    pub(super) fn asked_by(&self, run: usize) -> Vec<(usize, i64)> {
        let seen = self.hosts.seen.lock().unwrap();
        let all = seen.asked.iter().enumerate();
        let all = all.flat_map(|(n, asked)| asked.iter().map(move |asked| (n, *asked)));
        all.filter(|(_, asked)| asked.run == run).map(|(n, asked)| (n, asked.at_us)).collect()
    }

    /// How often each URL was asked for.
    pub(super) fn n_asked(&self) -> Vec<usize> {
        self.hosts.seen.lock().unwrap().asked.iter().map(Vec::len).collect()
    }

    /// The most requests that were under way to one address; a limit that was passed is a failure.
    pub(super) fn check_limits(&self) -> usize {
        let seen = self.hosts.seen.lock().unwrap();
        assert!(seen.passed.is_empty(), "limits were passed:\n{}", seen.passed.join("\n"));
        seen.most_at_address
    }
}

/// What the servers share.
struct Hosts {
    bases: OnceLock<Vec<String>>,
    seen: Mutex<Seen>,
    runtime: Handle,
}

/// What the servers saw.
#[derive(Default)]
struct Seen {
    /// Of each URL the requests.
    asked: Vec<Vec<Asked>>,
    /// By run.
    n_answered: BTreeMap<usize, usize>,
    under_way: Vec<UnderWay>,
    most_at_address: usize,
    limited: Vec<Limited>,
    /// Limits that were passed.
    passed: Vec<String>,
}

#[derive(Clone, Copy)]
struct Asked {
    run: usize,
    at_us: i64,
}

/// A request under way. Those of a run that was killed are not the next one's.
#[derive(Clone, Copy, PartialEq)]
struct UnderWay {
    run: usize,
    address: usize,
    since: Instant,
}

/// That a run was told to leave a host alone.
struct Limited {
    run: usize,
    host: String,
    since: Instant,
    /// Requests that came all the same, when those that were under way had long arrived.
    n_late: usize,
}

impl Hosts {
    fn bases(&self) -> &[String] {
        self.bases.get().unwrap()
    }

    fn act(&self, n: usize) -> Act {
        Act::of(n / self.bases().len())
    }

    fn answer(
        &self,
        address: usize,
        path: &str,
        request: &Request,
        stream: &mut TcpStream,
    ) -> Result<()> {
        // Without it it is of a run that was killed while it asked.
        let Some(run) = run_of(request) else { return Ok(()) };
        let n = path.rsplit('/').next().and_then(|n| n.parse::<usize>().ok());
        let exchange = self.begin(run, address, stream);
        // So that requests overlap.
        std::thread::sleep(Duration::from_millis(1 + n.unwrap_or(0) as u64 % 3));
        let answered = match n {
            None => exchange.send("404 .", b""),
            Some(n) if path.starts_with("/to/") => exchange.send(OK, &picture(n)),
            Some(n) => self.answer_url(n, request, exchange),
        };
        *self.seen.lock().unwrap().n_answered.entry(run).or_default() += 1;
        answered
    }

    fn answer_url(&self, n: usize, request: &Request, exchange: Exchange<'_>) -> Result<()> {
        let (run, host) = (exchange.under_way.run, &request.headers["host"]);
        let is_first = self.note(n, run, host);
        match self.act(n) {
            Act::LimitOnce if is_first => {
                let wait = RETRY_AFTER.as_secs();
                let sent = exchange.send(&format!("429 .\r\nRetry-After: {wait}"), b"");
                self.limit(run, host);
                sent
            }
            Act::FailOnce if is_first => exchange.send("503 .", b""),
            Act::Picture | Act::LimitOnce | Act::FailOnce => exchange.send(OK, &picture(n)),
            Act::Slow => exchange.send_slowly(&picture(n)),
            Act::Resumed => {
                let range = request.headers.get("range").map(String::as_str);
                exchange.send_from(range, &format!("ETag: \"{n}\""), &picture(n))
            }
            Act::Redirect => {
                let other = &self.bases()[(n + 1) % self.bases().len()];
                exchange.send(&format!("302 .\r\nLocation: {other}/to/{n}"), b"")
            }
            Act::Loop => exchange.send(&format!("302 .\r\nLocation: /{n}"), b""),
            Act::Fail => exchange.send("503 .", b""),
            Act::Missing => exchange.send("404 .", b""),
            Act::Page => exchange.send(OK, b"<!DOCTYPE html><html>gone</html>"),
            Act::Empty => exchange.send(OK, b""),
            Act::OptedOut => exchange.send("200 OK\r\nX-Robots-Tag: noai", &picture(n)),
            Act::Cut => exchange.send_half(OK, &picture(n)),
            Act::Reset => exchange.reset(&self.runtime),
            Act::Silent => exchange.fall_silent(),
        }
    }

    /// Notes that `run` asks for URL `n` of `host`; whether nobody has before.
    fn note(&self, n: usize, run: usize, host: &str) -> bool {
        let mut guard = self.seen.lock().unwrap();
        let seen = &mut *guard;
        seen.limited.retain(|limited| limited.since.elapsed() < RETRY_AFTER);
        let limited = seen.limited.iter_mut().filter(|one| one.run == run && one.host == host);
        for limited in limited.filter(|one| one.since.elapsed() >= RETRY_AFTER / 2) {
            limited.n_late += 1;
            // So many may have waited for a place at the address, which another host has too.
            if limited.n_late > PER_HOST {
                let since = limited.since.elapsed();
                seen.passed.push(format!("run {run}: {host}/{n}, {since:?} after status 429"));
            }
        }
        seen.asked[n].push(Asked { run, at_us: Utc::now().timestamp_micros() });
        seen.asked[n].len() == 1
    }

    fn limit(&self, run: usize, host: &str) {
        let limited = Limited { run, host: host.to_owned(), since: Instant::now(), n_late: 0 };
        self.seen.lock().unwrap().limited.push(limited);
    }

    /// Begins to answer a request of `run`, which may be one too many.
    fn begin<'a>(&'a self, run: usize, address: usize, stream: &'a mut TcpStream) -> Exchange<'a> {
        let under_way = UnderWay { run, address, since: Instant::now() };
        let mut seen = self.seen.lock().unwrap();
        seen.under_way.push(under_way);
        let of_run: Vec<UnderWay> =
            seen.under_way.iter().filter(|one| one.run == run).copied().collect();
        let at_address = of_run.iter().filter(|one| one.address == address);
        let ages: Vec<Duration> = at_address.map(|one| one.since.elapsed()).collect();
        seen.most_at_address = seen.most_at_address.max(ages.len());
        if ages.len() > PER_HOST || of_run.len() > CONCURRENCY {
            let (n, in_all) = (ages.len(), of_run.len());
            seen.passed.push(format!(
                "run {run}: {n} requests at once to address {address}, {in_all} in all; they began {ages:?} ago"
            ));
        }
        Exchange { hosts: self, under_way, stream }
    }
}

/// A request that is being answered. It is no longer under way before its last bytes are sent: who has them may ask for the next thing.
struct Exchange<'a> {
    hosts: &'a Hosts,
    under_way: UnderWay,
    stream: &'a mut TcpStream,
}

impl Exchange<'_> {
    fn ended(&self) {
        let mut seen = self.hosts.seen.lock().unwrap();
        if let Some(at) = seen.under_way.iter().position(|one| *one == self.under_way) {
            seen.under_way.swap_remove(at);
        }
    }

    fn head(&mut self, head: &str, length: usize) -> Result<()> {
        write!(
            self.stream,
            "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
    }

    fn send(mut self, head: &str, body: &[u8]) -> Result<()> {
        self.ended();
        self.head(head, body.len())?;
        self.stream.write_all(body)
    }

    fn send_half(mut self, head: &str, body: &[u8]) -> Result<()> {
        self.ended();
        self.head(head, body.len())?;
        self.stream.write_all(&body[..body.len() / 2])
    }

    fn send_slowly(mut self, body: &[u8]) -> Result<()> {
        let (first, rest) = body.split_at(body.len() / 2);
        self.head(OK, body.len())?;
        self.stream.write_all(first)?;
        std::thread::sleep(Duration::from_millis(100));
        self.ended();
        self.stream.write_all(rest)
    }

    /// Half of it, or from where `range` begins.
    fn send_from(self, range: Option<&str>, validator: &str, body: &[u8]) -> Result<()> {
        let Some(range) = range else {
            return self.send_half(&format!("{OK}\r\n{validator}"), body);
        };
        let at: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
        let (last, length) = (body.len() - 1, body.len());
        self.send(&format!("206 .\r\nContent-Range: bytes {at}-{last}/{length}"), &body[at..])
    }

    /// The connection ends by RST, as one does that is closed without lingering.
    fn reset(self, runtime: &Handle) -> Result<()> {
        self.ended();
        let _entered = runtime.enter();
        self.stream.set_nonblocking(true)?;
        tokio::net::TcpStream::from_std(self.stream.try_clone()?)?.set_zero_linger()
    }

    fn fall_silent(mut self) -> Result<()> {
        // When the other side gives up is not seen here before it asks for the next thing.
        self.ended();
        self.head(OK, 100)?;
        self.stream.write_all(b"abc")?;
        while self.stream.read(&mut [0; 1024])? > 0 {}
        Ok(())
    }
}

impl Drop for Exchange<'_> {
    /// Also where the other side was killed.
    fn drop(&mut self) {
        self.ended();
    }
}
