//! What a host has said holds on a cluster, in later runs too.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::crawl::text;
use crate::processes::{Cluster, tuwen};

/// A host that wants to be left alone for an hour, whoever asks, and how often it was asked for a picture.
fn busy_host() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let n_asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&n_asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = BufReader::new(&stream).lines().map_while(Result::ok);
            let request = head.next().unwrap_or_default();
            head.find(String::is_empty);
            drop(head);
            let status = match request.contains("robots.txt") {
                true => "404 Not Found",
                false => {
                    count.fetch_add(1, Ordering::Relaxed);
                    "429 Too Many Requests\r\nRetry-After: 3600"
                }
            };
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (base, n_asked)
}

#[test]
fn a_host_that_wants_to_be_left_alone_is_by_later_runs_too() {
    let folder = TempDir::new().unwrap();
    let (base, n_asked) = busy_host();
    let cluster = Cluster::start(1, |_| {});
    let fetch = |name: &str, pictures: &[u8]| {
        let rows = pictures.iter().map(|n| format!("一只猫,{base}/{n}.jpg,train-{n}.jpg\n"));
        let csv = format!("text,url,filename\n{}", rows.collect::<String>());
        std::fs::write(folder.path().join(name), csv).unwrap();
        let corpus = ["--corpus", "corpus", "--cluster", &cluster.address];
        let settings = ["--set", "max_rejected_percent=100", "--set", "fetch.longest_wait_secs=0"];
        let args = [&["fetch", name, "--allow-private-hosts"], &corpus[..], &settings].concat();
        text(&tuwen(folder.path(), &args));
        n_asked.load(Ordering::Relaxed)
    };
    let n_first = fetch("first.csv", &[1]);
    assert!(n_first > 0, "{}", cluster.said());
    assert_eq!(fetch("second.csv", &[2, 3]), n_first);

    // Those that were left alone are recorded as not asked for.
    let query = "select outcome, count(*) as n from originals group by 1 order by 1";
    let output = tuwen(folder.path(), &["sql", query, "--corpus", "corpus", "--format", "csv"]);
    assert_eq!(text(&output), "outcome,n\nhost_down,2\nrate_limited,1\n");
}
