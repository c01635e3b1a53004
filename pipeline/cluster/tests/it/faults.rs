//! Processes that die, and networks that stop: the end is the same.

use std::path::Path;
use std::time::Duration;

use crate::crawl::{Crawl, tables, text};
use crate::processes::{Cluster, Way, begin, tuwen, until};
use crate::same::RUN;

/// Rows of `table`, as its log has them.
fn n_files(folder: &Path, corpus: &str, table: &str) -> usize {
    let folder = folder.join(corpus).join(table);
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|end| end == "parquet")).count()
}

fn is_curating(folder: &Path, corpus: &str) -> bool {
    let scratch = std::fs::read_dir(folder.join(corpus).join("_scratch"));
    let mut folders = scratch.into_iter().flatten().flatten();
    folders.any(|folder| folder.path().join("clean_captions").exists())
}

/// Runs the crawl while `trouble` happens, and compares what comes of it with an undisturbed run.
fn run_through(trouble: impl FnOnce(&mut Cluster, &Path)) {
    let crawl = Crawl::new(Duration::from_millis(20));
    text(&tuwen(crawl.path(), &[&RUN[..], &["--corpus", "local"]].concat()));
    let mut cluster = Cluster::start(2, |_| {});
    let address = cluster.address.clone();
    let on_cluster = ["--corpus", "clustered", "--cluster", &address];
    let args = [&RUN[..], &on_cluster].concat();
    let mut driver = begin(crawl.path(), "driver", &args);
    trouble(&mut cluster, crawl.path());
    assert_eq!(driver.code(), Some(0), "{}\n{}", driver.said(), cluster.said());
    assert_eq!(tables(crawl.path(), "local"), tables(crawl.path(), "clustered"));
}

#[test]
fn an_executor_dies_during_fetch() {
    run_through(|cluster, folder| {
        until("fetch", || folder.join("clustered/_scratch").exists());
        std::thread::sleep(Duration::from_millis(300));
        cluster.executors[0].kill();
    });
}

#[test]
fn an_executor_dies_during_decode() {
    run_through(|cluster, folder| {
        until("decode", || n_files(folder, "clustered", "images") > 0);
        cluster.executors[1].kill();
    });
}

#[test]
fn an_executor_dies_during_curate() {
    run_through(|cluster, folder| {
        until("curate", || is_curating(folder, "clustered"));
        cluster.executors[0].kill();
    });
}

#[test]
fn the_network_stops_for_ten_seconds() {
    run_through(|cluster, folder| {
        // The two that came without it go, and two come through a way that can be closed.
        let way = Way::to(&cluster.address);
        for _ in 0..2 {
            cluster.add(&way.address, |_| {});
        }
        for executor in &mut cluster.executors[..2] {
            executor.signal("-TERM");
            executor.code();
        }
        until("decode", || n_files(folder, "clustered", "originals") > 0);
        way.close_for(Duration::from_secs(10));
    });
}

#[test]
fn a_driver_dies_and_another_goes_on() {
    let crawl = Crawl::new(Duration::from_millis(20));
    text(&tuwen(crawl.path(), &[&RUN[..], &["--corpus", "local"]].concat()));
    let cluster = Cluster::start(2, |_| {});
    let on_cluster = ["--corpus", "clustered", "--cluster", &cluster.address];
    let args = [&RUN[..], &on_cluster].concat();
    let mut driver = begin(crawl.path(), "driver", &args);
    until("decode", || n_files(crawl.path(), "clustered", "images") > 0);
    driver.kill();
    text(&tuwen(crawl.path(), &[&args[..], &["--wait"]].concat()));
    assert_eq!(tables(crawl.path(), "local"), tables(crawl.path(), "clustered"));
}

#[test]
fn ctrl_c_ends_the_job() {
    let crawl = Crawl::new(Duration::from_millis(200));
    let cluster = Cluster::start(2, |_| {});
    let on_cluster = ["--corpus", "clustered", "--cluster", &cluster.address];
    let args = [&RUN[..], &on_cluster].concat();
    let mut driver = begin(crawl.path(), "driver", &args);
    until("fetch", || crawl.path().join("clustered/_scratch").exists());
    std::thread::sleep(Duration::from_millis(500));
    driver.signal("-INT");
    assert_eq!(driver.code(), Some(130), "{}", driver.said());
    // The same command goes on.
    text(&tuwen(crawl.path(), &args));
    text(&tuwen(crawl.path(), &[&RUN[..], &["--corpus", "local"]].concat()));
    assert_eq!(tables(crawl.path(), "local"), tables(crawl.path(), "clustered"));
}

#[test]
fn ctrl_c_ends_the_job_of_a_query() {
    let crawl = Crawl::new(Duration::ZERO);
    text(&tuwen(crawl.path(), &[&RUN[..], &["--corpus", "local"]].concat()));
    let cluster = Cluster::start(1, |_| {});
    // None of 100 to the power of six rows is one of the answer.
    let query = "select count(*) as n from pairs a, pairs b, pairs c, pairs d, pairs e, pairs f \
        where octet_length(a.text) + octet_length(b.text) + octet_length(c.text) \
        + octet_length(d.text) + octet_length(e.text) + octet_length(f.text) < 0";
    let args = ["sql", query, "--corpus", "local", "--cluster", &cluster.address];
    let args = [&args[..], &["--set", "cluster_least_bytes=0"]].concat();
    let mut driver = begin(crawl.path(), "driver", &args);
    until("the job", || cluster.scheduler.said().contains("job submitted"));
    std::thread::sleep(Duration::from_millis(500));
    driver.signal("-INT");
    assert_eq!(driver.code(), Some(130), "{}", driver.said());
    // The scheduler writes it down in its own time.
    until("the cancellation", || cluster.scheduler.said().contains("cancellation request"));
}
