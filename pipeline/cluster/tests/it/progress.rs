//! A job says how far it is while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::crawl::Crawl;
use crate::processes::{Cluster, begin, get, until};
use crate::same::RUN;

/// Of a line "job ID: 3 of 5 parts": 3 and 5.
fn parts(line: &str) -> Option<(u64, u64)> {
    let (_, said) = line.strip_prefix("job ")?.split_once(": ")?;
    let (done, total) = said.strip_suffix(" parts")?.split_once(" of ")?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

#[test]
fn parts_that_have_ended_are_seen_while_others_run() {
    // What is to be asked for is read by parts of their own; those that ask wait for the hosts.
    let are_awake = Arc::new(AtomicBool::new(false));
    let hosts = Arc::clone(&are_awake);
    let crawl = Crawl::of_hosts(move || until("a host", || hosts.load(Ordering::Acquire)));
    let cluster = Cluster::start(2, |_| {});
    let on_cluster = ["--corpus", "clustered", "--cluster", &cluster.address, "-v"];
    let patient = ["--set", "fetch.first_byte_timeout_secs=300"];
    let args = [&RUN[..], &on_cluster, &patient].concat();
    let mut driver = begin(crawl.path(), "driver", &args);
    until("some of the parts", || {
        let said = driver.said();
        let mut parts = said.lines().filter_map(parts);
        parts.any(|(done, total)| 0 < done && done < total)
    });
    until("the job", || get(&cluster.address, "/jobs").contains("\"n_total\":"));
    are_awake.store(true, Ordering::Release);
    assert_eq!(driver.code(), Some(0), "{}\n{}", driver.said(), cluster.said());
    until("the end of all jobs", || get(&cluster.address, "/jobs").ends_with("{}"));
}
