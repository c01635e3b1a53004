//! Fetch against servers that do what servers of the web do. `hostile.rs` has one answer a case; here is what hosts do over time, and
//! what becomes of a crawl.

mod hostile;
mod names;
mod soak;

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tuwen_corpus::report::StageReport;
use tuwen_etl::fetch::{FetchOutcome, Next, Origin, fetch};
use tuwen_etl::ingest::ingest;

use crate::corpus::{Crawl, png, sources};
use crate::server::{Answer, Handler, Request, Server};

/// Ingests `urls` and fetches.
async fn crawl(crawl: &Crawl, urls: &[String]) -> anyhow::Result<StageReport> {
    let corpus = crawl.corpus().await;
    let rows: Vec<String> =
        urls.iter().enumerate().map(|(n, url)| format!("a,\"{url}\",{n}.png")).collect();
    let csv = crawl.csv("urls.csv", &rows);
    ingest(&corpus, &sources(&[csv]), &crawl.stop).await?;
    fetch(&corpus, Origin::Http, &crawl.settings.fetch, None, &crawl.stop).await
}

/// Attempts by outcome, from the table itself.
async fn outcomes(crawl: &Crawl) -> BTreeMap<String, usize> {
    let rows = crawl.query("select outcome, count(*) from originals group by outcome").await;
    rows.into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.into_iter().map(|(outcome, n)| (outcome.to_owned(), n)).collect()
}

fn raw(
    handler: impl Fn(&Request, &mut std::net::TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> Answer {
    Answer::Raw(Arc::new(handler) as Handler)
}

/// Says that the connection ends, as it does: a client that asks by it once more may be too early to see its end.
fn ok(stream: &mut std::net::TcpStream, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")?;
    stream.write_all(body)
}

/// The base of a server at a port of `address` that nobody listens at any more.
fn dead(address: &str) -> String {
    let listener = TcpListener::bind((address, 0)).unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// The table of outcomes in the docs is the one in the code.
#[test]
fn the_docs_list_the_outcomes_of_the_code() {
    let mut table = String::from("| outcome | meaning | asked for again |\n| --- | --- | --- |\n");
    for outcome in FetchOutcome::ALL {
        let again = match outcome.next() {
            Next::Got => "it is there".to_owned(),
            Next::Final => "no".to_owned(),
            Next::Again(secs) => format!("after {}, then 4 times as long each", time(secs)),
            Next::Later(secs) => format!("after {}, without counting", time(secs)),
        };
        let (name, meaning) = (outcome.name(), outcome.meaning());
        table.push_str(&format!("| `{name}` | {meaning} | {again} |\n"));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/outcomes.md");
    let docs = std::fs::read_to_string(path).unwrap_or_default();
    assert!(docs.contains(&table), "docs/outcomes.md: expected this table\n{table}");
}

fn time(secs: u64) -> String {
    match secs {
        1 => "a second".to_owned(),
        secs if secs % 3600 == 0 && secs > 3600 => format!("{} hours", secs / 3600),
        3600 => "an hour".to_owned(),
        secs => format!("{secs} seconds"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_limits_is_asked_again_when_it_says() {
    let mut own = Crawl::new();
    own.settings.fetch.longest_wait_secs = 30;
    // When the host was asked first, however long it takes until then.
    let first = Arc::new(OnceLock::<Instant>::new());
    let answers = (0..40).map(|n| {
        let first = Arc::clone(&first);
        let handler = move |_: &Request, stream: &mut std::net::TcpStream| {
            if first.get_or_init(Instant::now).elapsed() < Duration::from_secs(2) {
                return write!(
                    stream,
                    "HTTP/1.1 429 .\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n"
                );
            }
            ok(stream, &png(n))
        };
        (format!("/{n}.png"), raw(handler))
    });
    let server = Server::start(answers.collect());
    let urls: Vec<String> = (0..40).map(|n| format!("{}/{n}.png", server.base)).collect();
    let report = crawl(&own, &urls).await.unwrap();
    assert_eq!((report.rows_in, report.rows_out), (40, 40), "{report:?}");
    let limited = outcomes(&own).await["rate_limited"];
    assert!(limited <= 2, "{limited} requests to a host that wanted to be left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_that_hangs_holds_nobody_up() {
    let mut own = Crawl::new();
    // So long that no host that answers is late on a busy machine.
    (own.settings.fetch.concurrency, own.settings.fetch.first_byte_timeout_secs) = (16, 3);
    own.settings.fetch.connect_timeout_secs = 3;
    own.settings.fetch.robots = false;
    // Accepts connections, and never says a word.
    let deaf = TcpListener::bind("127.0.1.1:0").unwrap();
    let deaf_url = format!("http://{}", deaf.local_addr().unwrap());
    let done = Arc::new(Mutex::new(Vec::new()));
    let began = Instant::now();
    let servers: Vec<Server> = (0..50)
        .map(|host| {
            let done = Arc::clone(&done);
            let handler = move |_: &Request, stream: &mut std::net::TcpStream| {
                done.lock().unwrap().push(began.elapsed());
                ok(stream, &png(host))
            };
            let answers = (0..4).map(|n| (format!("/{n}.png"), raw(handler.clone())));
            Server::start_at(&format!("127.0.2.{}", host + 1), answers.collect())
        })
        .collect();
    let mut urls: Vec<String> = (0..200).map(|n| format!("{deaf_url}/{n}.png")).collect();
    for server in &servers {
        urls.extend((0..4).map(|n| format!("{}/{n}.png", server.base)));
    }
    let report = crawl(&own, &urls).await.unwrap();
    assert_eq!(report.rows_out, 200, "{report:?}");
    let outcomes = outcomes(&own).await;
    assert_eq!((outcomes["ok"], outcomes["timeout"] + outcomes["host_down"]), (200, 200));
    assert!((1..=5).contains(&outcomes["timeout"]), "{outcomes:?}");
    let times = done.lock().unwrap();
    let took = *times.iter().max().unwrap() - *times.iter().min().unwrap();
    // Two hundred requests to the deaf host would take as many times three seconds, and 39 seconds sixteen at a time.
    assert!(took < Duration::from_secs(20), "the last answer came {took:?} after the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_host_has_more_than_its_places_however_it_is_reached() {
    let mut own = Crawl::new();
    (own.settings.fetch.per_host, own.settings.fetch.concurrency) = (3, 64);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let answers = (0..60).map(|n| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        let handler = move |_: &Request, stream: &mut std::net::TcpStream| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Until all places were taken at once, whoever has one keeps it for longer.
            let (begun, least) = (Instant::now(), Duration::from_millis(20));
            let is_early = || begun.elapsed() < Duration::from_secs(2);
            while begun.elapsed() < least || most.load(Ordering::SeqCst) < 3 && is_early() {
                std::thread::sleep(Duration::from_millis(5));
            }
            now.fetch_sub(1, Ordering::SeqCst);
            ok(stream, &png(n))
        };
        (format!("/{n}.png"), raw(handler))
    });
    let target = Server::start(answers.collect());
    // Twenty hosts that all lead to the one.
    let others: Vec<Server> = (0..20)
        .map(|host| {
            let answers = (0..3).map(|n| {
                let to = format!("{}/{}.png", target.base, host * 3 + n);
                (format!("/{n}"), Answer::Redirect(to))
            });
            Server::start_at(&format!("127.0.3.{}", host + 1), answers.collect())
        })
        .collect();
    let urls: Vec<String> =
        others.iter().flat_map(|other| (0..3).map(|n| format!("{}/{n}", other.base))).collect();
    let report = crawl(&own, &urls).await.unwrap();
    assert_eq!(report.rows_out, 60, "{report:?}");
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_without_network_is_a_bad_run_that_marks_nothing() {
    let own = Crawl::new();
    let dead: Vec<String> = (1..=8).map(|host| dead(&format!("127.0.4.{host}"))).collect();
    let urls: Vec<String> = (0..80).map(|n| format!("{}/{n}.png", dead[n % dead.len()])).collect();
    let error = crawl(&own, &urls).await.unwrap_err().to_string();
    assert!(error.starts_with("no host answers any more: the last "), "{error}");
    assert_eq!(outcomes(&own).await, BTreeMap::new());
    let runs = own.query("select outcome from runs where stage = 'fetch'").await;
    assert_eq!(runs, [["failed"]]);

    // With one host that answers, the silence of the others is theirs.
    let server = Server::start(HashMap::from([("/a.png".to_owned(), Answer::Body(png(1)))]));
    let urls = [urls, vec![format!("{}/a.png", server.base)]].concat();
    let report = crawl(&own, &urls).await.unwrap();
    assert_eq!(report.rows_out, 1, "{report:?}");
    let outcomes = outcomes(&own).await;
    assert_eq!(outcomes.values().sum::<usize>(), 81, "{outcomes:?}");
    assert_eq!(outcomes["connect"] + outcomes.get("host_down").copied().unwrap_or(0), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_crawl_waits_for_its_first_answer() {
    let own = Crawl::new();
    let slow = raw(|_, stream| {
        std::thread::sleep(Duration::from_millis(700));
        ok(stream, &png(1))
    });
    let server = Server::start(HashMap::from([("/a.png".to_owned(), slow)]));
    let mut urls: Vec<String> =
        (1..=30).map(|host| format!("{}/a.png", dead(&format!("127.0.10.{host}")))).collect();
    urls.push(format!("{}/a.png", server.base));
    crawl(&own, &urls).await.unwrap();
    assert_eq!(outcomes(&own).await, counts([("connect", 30), ("ok", 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_away_for_a_moment_ends_nothing() {
    use std::io::Read;
    let own = Crawl::new();
    let server = Server::start_at(
        "127.0.11.1",
        HashMap::from([("/a.png".to_owned(), Answer::Body(png(1)))]),
    );
    crawl(&own, &[format!("{}/a.png", server.base)]).await.unwrap();
    let address = server.base.trim_start_matches("http://").to_owned();
    drop(server);
    let back = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1500));
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        // For a minute: on a busy machine it is asked later.
        let asked = (0..6000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            listener.accept().ok()
        });
        let (mut stream, _) = asked.expect("the host that answered before is asked");
        stream.set_nonblocking(false).unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 404 .\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let urls: Vec<String> =
        (2..=31).map(|host| format!("{}/a.png", dead(&format!("127.0.11.{host}")))).collect();
    crawl(&own, &urls).await.unwrap();
    assert_eq!(outcomes(&own).await, counts([("connect", 30), ("ok", 1)]));
    back.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distance_between_requests_is_no_wish_to_be_left_alone() {
    let mut own = Crawl::new();
    own.settings.fetch.requests_per_sec = 10;
    let answers = (0..5).map(|n| (format!("/{n}.png"), Answer::Body(png(n))));
    let server = Server::start(answers.collect());
    let urls: Vec<String> = (0..5).map(|n| format!("{}/{n}.png", server.base)).collect();
    crawl(&own, &urls).await.unwrap();
    assert_eq!(outcomes(&own).await, counts([("ok", 5)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_left_alone_by_the_next_run_too() {
    let own = Crawl::new();
    let limit = raw(|_, stream| {
        write!(stream, "HTTP/1.1 429 .\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n")
    });
    let server = Server::start(HashMap::from([
        ("/a.png".to_owned(), limit),
        ("/b.png".to_owned(), Answer::Body(png(1))),
    ]));
    let urls = ["a.png", "b.png"].map(|name| format!("{}/{name}", server.base));
    crawl(&own, &urls[..1]).await.unwrap();
    crawl(&own, &urls).await.unwrap();
    assert_eq!(outcomes(&own).await, counts([("host_down", 1), ("rate_limited", 1)]));
    assert_eq!(server.hits().get("/b.png"), None);
    let waits = "select distinct date_part('epoch', next_try_at) - date_part('epoch', fetched_at) between 3500 and 3700 from originals";
    assert_eq!(own.query(waits).await, [["true"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_asked_again_when_it_is_due_and_not_before() {
    let mut own = Crawl::new();
    let handler = |request: &Request, stream: &mut std::net::TcpStream| match request.nth {
        1 | 2 => write!(stream, "HTTP/1.1 500 .\r\nContent-Length: 0\r\n\r\n"),
        _ => ok(stream, &png(1)),
    };
    let gone = Answer::Status(410);
    let server = Server::start(HashMap::from([
        ("/a.png".to_owned(), raw(handler)),
        ("/gone.png".to_owned(), gone),
    ]));
    let urls = ["a.png", "gone.png"].map(|name| format!("{}/{name}", server.base));
    crawl(&own, &urls).await.unwrap();
    assert_eq!(outcomes(&own).await, counts([("http_status", 1), ("server_error", 1)]));
    // Not due: the first wait is a second at least.
    let waits = own
        .query("select next_try_at - fetched_at >= interval '1 second', next_try_at is null from originals order by locator")
        .await;
    assert_eq!(waits, [["true", "false"], ["null", "true"]]);
    let corpus = own.corpus().await;
    let again = async |own: &Crawl| {
        fetch(&corpus, Origin::Http, &own.settings.fetch, None, &own.stop).await.unwrap()
    };
    own.settings.fetch.longest_wait_secs = 10;
    // The second try fails as well; the third, four seconds later, is within what this run waits for.
    std::thread::sleep(Duration::from_millis(1300));
    assert_eq!(again(&own).await.rows_out, 1);
    assert_eq!(outcomes(&own).await, counts([("http_status", 1), ("server_error", 2), ("ok", 1)]));
    assert_eq!(again(&own).await.commits, 0);

    // What is final is asked again when it is named, or old.
    own.settings.fetch.retry = "timeout".to_owned();
    assert_eq!(again(&own).await.commits, 0);
    own.settings.fetch.retry = "http_status".to_owned();
    own.settings.fetch.retry_older_than_secs = 3600;
    assert_eq!(again(&own).await.commits, 0);
    own.settings.fetch.retry_older_than_secs = 0;
    assert_eq!(again(&own).await.commits, 1);
    assert_eq!(server.hits()["/gone.png"], 2);
    assert_eq!(server.hits()["/a.png"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_end() {
    let mut own = Crawl::new();
    (own.settings.fetch.attempts, own.settings.fetch.longest_wait_secs) = (2, 10);
    let server = Server::start(HashMap::from([("/a.png".to_owned(), Answer::Status(500))]));
    crawl(&own, &[format!("{}/a.png", server.base)]).await.unwrap();
    assert_eq!(outcomes(&own).await, counts([("server_error", 2)]));
    std::thread::sleep(Duration::from_secs(6));
    let corpus = own.corpus().await;
    let report = fetch(&corpus, Origin::Http, &own.settings.fetch, None, &own.stop).await.unwrap();
    assert_eq!((report.commits, server.hits()["/a.png"]), (0, 2));
}

/// What the answer to robots.txt says of itself is not said of the picture.
#[tokio::test(flavor = "multi_thread")]
async fn retry_after_of_robots_txt_is_not_that_of_the_picture() {
    let own = Crawl::new();
    let robots = raw(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n")
    });
    let server = Server::start(HashMap::from([
        ("/robots.txt".to_owned(), robots),
        ("/a.png".to_owned(), raw(|_, stream| stream.write_all(b"no HTTP at all\r\n\r\n"))),
    ]));
    crawl(&own, &[format!("{}/a.png", server.base)]).await.unwrap();
    let wait = "select outcome, date_part('epoch', next_try_at) - date_part('epoch', fetched_at) < 10 from originals";
    assert_eq!(own.query(wait).await, [["broken", "true"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn robots_txt_is_kept_to() {
    let own = Crawl::new();
    let picture = || Answer::Body(png(3));
    let host = |address: &str, robots: Answer| {
        let answers = HashMap::from([
            ("/robots.txt".to_owned(), robots),
            ("/open/a.png".to_owned(), picture()),
            ("/closed/a.png".to_owned(), picture()),
        ]);
        Server::start_at(address, answers)
    };
    let rules = b"User-agent: *\nDisallow: /closed/\n".to_vec();
    let some = host("127.0.5.1", Answer::Body(rules.clone()));
    let none = host("127.0.5.2", Answer::Status(404));
    let down = host("127.0.5.3", Answer::Status(503));
    let page = host("127.0.5.4", Answer::Body(b"<html>Disallow: /</html>".to_vec()));
    let ours = host(
        "127.0.5.5",
        Answer::Body(b"User-agent: *\nDisallow: /\n\nUser-agent: tuwen\nAllow: /\n".to_vec()),
    );
    let elsewhere =
        Server::start_at("127.0.5.6", HashMap::from([("/r".to_owned(), Answer::Body(rules))]));
    let moved = host("127.0.5.7", Answer::Redirect(format!("{}/r", elsewhere.base)));
    let long = [b"User-agent: *\nDisallow: /closed/\n".to_vec(), vec![b'#'; 1 << 20]].concat();
    let packed = host("127.0.5.8", hostile::encoded("gzip", &hostile::gzip(&long)));
    let cut = &hostile::gzip(&long)[..200];
    let damaged = host("127.0.5.9", hostile::encoded("gzip", cut));
    let hosts = [&some, &none, &down, &page, &ours, &moved, &packed, &damaged];
    let urls: Vec<String> = hosts
        .iter()
        .flat_map(|host| ["open", "closed"].map(|path| format!("{}/{path}/a.png", host.base)))
        .collect();
    crawl(&own, &urls).await.unwrap();
    let expected = [
        ("ok", "robots_disallowed"),
        ("ok", "ok"),
        ("robots_unavailable", "robots_unavailable"),
        ("ok", "ok"),
        ("ok", "ok"),
        ("ok", "robots_disallowed"),
        ("ok", "robots_disallowed"),
        ("robots_unavailable", "robots_unavailable"),
    ];
    for (host, (open, closed)) in hosts.iter().zip(expected) {
        for (path, outcome) in [("open", open), ("closed", closed)] {
            let url = format!("{}/{path}/a.png", host.base);
            let found =
                own.query(&format!("select outcome from originals where locator = '{url}'")).await;
            assert_eq!(found, [[outcome]], "{url}");
        }
    }
    assert_eq!(some.hits()["/robots.txt"], 1);
    assert_eq!(some.hits().get("/closed/a.png"), None);
    // What is forbidden today may not be once robots.txt is read anew.
    let waits = "select distinct epoch_s between 86400 and 108000 from (
            select date_part('epoch', next_try_at) - date_part('epoch', fetched_at) as epoch_s
            from originals where outcome = 'robots_disallowed'
        )";
    assert_eq!(own.query(waits).await, [["true"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_crawl_are_disjoint_and_all_of_it() {
    let mut own = Crawl::new();
    let servers: Vec<Server> = (1..=12)
        .map(|host| {
            let answers = (0..3).map(|n| (format!("/{n}.png"), Answer::Body(png(host))));
            Server::start_at(&format!("127.0.6.{host}"), answers.collect())
        })
        .collect();
    let urls: Vec<String> = servers
        .iter()
        .flat_map(|server| (0..3).map(|n| format!("{}/{n}.png", server.base)))
        .collect();
    let mut n_rows = Vec::new();
    for part in 1..=3 {
        own.settings.fetch.shard = format!("{part}/3");
        n_rows.push(crawl(&own, &urls).await.unwrap().rows_out);
    }
    assert_eq!(n_rows.iter().sum::<u64>(), 36, "{n_rows:?}");
    assert!(n_rows.iter().all(|n| *n % 3 == 0 && *n < 36), "{n_rows:?}");
    assert!(servers.iter().all(|server| server.hits().values().all(|n| *n == 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_crawl_commits_what_came_and_goes_on_later() {
    let own = Crawl::new();
    let n_asked = Arc::new(AtomicUsize::new(0));
    let stop = own.stop.clone();
    let answers = (0..60).map(|n| {
        let (n_asked, stop) = (Arc::clone(&n_asked), stop.clone());
        let handler = move |_: &Request, stream: &mut std::net::TcpStream| {
            if n_asked.fetch_add(1, Ordering::SeqCst) == 20 {
                stop.cancel();
            }
            std::thread::sleep(Duration::from_millis(5));
            ok(stream, &png(n))
        };
        (format!("/{n}.png"), raw(handler))
    });
    let server = Server::start(answers.collect());
    let urls: Vec<String> = (0..60).map(|n| format!("{}/{n}.png", server.base)).collect();
    let report = crawl(&own, &urls).await.unwrap();
    let asked = n_asked.load(Ordering::SeqCst);
    assert_eq!(report.rows_out as usize, asked, "what was asked for is committed: {report:?}");
    assert!((21..60).contains(&asked), "{asked}");
    assert!(report.hints.iter().any(|hint| hint.ends_with("the same command goes on")));
    let (corpus, stop) = (own.corpus().await, tokio_util::sync::CancellationToken::new());
    let rest = fetch(&corpus, Origin::Http, &own.settings.fetch, None, &stop).await.unwrap();
    assert_eq!(rest.rows_out as usize, 60 - asked);
    assert!(server.hits().iter().all(|(path, n)| path == "/robots.txt" || *n == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_served_while_it_lasts() {
    use std::io::Read;
    let mut own = Crawl::new();
    // At an address of its own, so that no other test takes the port before it is listened at, nor afterwards.
    let address = TcpListener::bind("127.0.251.1:0").unwrap().local_addr().unwrap();
    own.settings.fetch.metrics = address.to_string();
    let seen = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&seen);
    let handler = move |_: &Request, stream: &mut std::net::TcpStream| {
        let mut client = std::net::TcpStream::connect(address)?;
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
        client.read_to_string(&mut heard.lock().unwrap())?;
        ok(stream, &png(1))
    };
    let server = Server::start(HashMap::from([("/a.png".to_owned(), raw(handler))]));
    crawl(&own, &[format!("{}/a.png", server.base)]).await.unwrap();
    let text = seen.lock().unwrap().clone();
    assert!(text.contains("\ntuwen_fetch_attempts_total{outcome=\"ok\"} 0\n"), "{text}");
    // It ends with the run; the runtime takes a moment to close what it listened at.
    let until = Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < until, "metrics are still served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_stores_what_has_changed_and_nothing_twice() {
    let mut own = Crawl::new();
    let same = raw(|request: &Request, stream: &mut std::net::TcpStream| {
        if request.headers.get("if-none-match").is_some_and(|known| known == "\"a\"") {
            return write!(stream, "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n");
        }
        let body = png(10);
        write!(stream, "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: {}\r\n\r\n", body.len())?;
        stream.write_all(&body)
    });
    let other = raw(|request: &Request, stream: &mut std::net::TcpStream| {
        let body = png(20 + request.nth as u8);
        let etag = request.nth;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nETag: \"{etag}\"\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)
    });
    let server = Server::start(HashMap::from([
        ("/same.png".to_owned(), same),
        ("/other.png".to_owned(), other),
    ]));
    let urls = ["same.png", "other.png"].map(|name| format!("{}/{name}", server.base));
    crawl(&own, &urls).await.unwrap();
    own.settings.fetch.refresh = true;
    let report = crawl(&own, &urls).await.unwrap();
    assert_eq!((report.rows_in, report.rows_out, report.known), (2, 1, 1), "{report:?}");
    assert_eq!(outcomes(&own).await, counts([("ok", 3), ("not_modified", 1)]));
    let bytes =
        own.query("select count(bytes) from originals where locator like '%same.png'").await;
    assert_eq!(bytes, [["1"]]);
    // Nothing is rejected for it.
    assert_eq!(own.query("select count(*) from rejects where stage = 'fetch'").await, [["0"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crawl_ends_when_its_bytes_are_spent() {
    let mut own = Crawl::new();
    let answers = (0..200).map(|n| (format!("/{n}.png"), Answer::Body(png(n))));
    let server = Server::start(answers.collect());
    let urls: Vec<String> = (0..200).map(|n| format!("{}/{n}.png", server.base)).collect();
    own.settings.fetch.byte_budget = 10 * png(1).len() as u64;
    let report = crawl(&own, &urls).await.unwrap();
    assert_eq!(report.outcome, tuwen_corpus::report::Outcome::Interrupted);
    assert!((10..100).contains(&report.rows_out), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_ones_own_go_to_their_host_alone() {
    let mut own = Crawl::new();
    let picture = || {
        raw(|request: &Request, stream: &mut std::net::TcpStream| {
            match request.headers.get("cookie").map(String::as_str) {
                Some("a=1") => ok(stream, &png(1)),
                _ => write!(stream, "HTTP/1.1 403 .\r\nContent-Length: 0\r\n\r\n"),
            }
        })
    };
    let other = Server::start_at("127.0.9.2", HashMap::from([("/a.png".to_owned(), picture())]));
    let server = Server::start_at(
        "127.0.9.1",
        HashMap::from([
            ("/a.png".to_owned(), picture()),
            ("/away".to_owned(), Answer::Redirect(format!("{}/a.png", other.base))),
        ]),
    );
    let file = own.folder.path().join("headers.toml");
    std::fs::write(&file, "[\"127.0.9.1\"]\nCookie = \"a=1\"\n").unwrap();
    own.settings.fetch.headers = file.display().to_string();
    let urls = ["a.png", "away"].map(|name| format!("{}/{name}", server.base));
    crawl(&own, &urls).await.unwrap();
    assert_eq!(outcomes(&own).await, counts([("ok", 1), ("http_status", 1)]));
}
