//! What a cluster makes is what one machine makes.

use std::time::Duration;

use crate::crawl::{Crawl, assert_whole, tables, text};
use crate::processes::{Cluster, Process, get, tuwen};

/// `tuwen run` of the whole crawl.
pub(crate) const RUN: [&str; 11] = [
    "run",
    "train.csv",
    "test.csv",
    "--allow-private-hosts",
    "--tokenizer",
    "tokenizer.json",
    "--json",
    "--set",
    "decode.chunk_images=40",
    // Everything is worth a job.
    "--set",
    "cluster_least_bytes=0",
];

#[test]
fn the_stages() {
    let crawl = Crawl::new(Duration::ZERO);
    let cluster = Cluster::start(2, |_| {});
    let local = tuwen(crawl.path(), &[&RUN[..], &["--corpus", "local"]].concat());
    text(&local);
    let on_cluster = ["--corpus", "clustered", "--cluster", &cluster.address];
    let clustered = tuwen(crawl.path(), &[&RUN[..], &on_cluster].concat());
    let summary: serde_json::Value = serde_json::from_str(&text(&clustered)).unwrap();

    let (of_one, of_many) = (tables(crawl.path(), "local"), tables(crawl.path(), "clustered"));
    for (table, rows) in &of_one {
        assert!(rows.len() > 80, "{table}: {}", rows.len());
        assert_eq!(rows, &of_many[table], "{table}");
    }
    assert_whole(crawl.path(), "clustered");
    // A wave is one commit, whatever number of executors wrote its files.
    let local: serde_json::Value = serde_json::from_str(&text(&local)).unwrap();
    for (i, stage) in ["ingest", "fetch", "decode", "curate"].iter().enumerate() {
        assert_eq!(summary["stages"][i]["stage"], *stage, "{summary}");
        for count in ["rows_in", "rows_out", "rejected"] {
            assert_eq!(summary["stages"][i][count], local["stages"][i][count], "{stage} {count}");
        }
        // Of each source; of a wave; of chunks of 40 pictures a core; of all.
        assert_eq!(summary["stages"][i]["commits"], [2, 1, 2, 1][i], "{stage}");
    }
    // Of each of two chunks each of two cores has as many pictures, in a file.
    let files = std::fs::read_dir(crawl.path().join("clustered/images")).unwrap();
    let files = files.filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".parquet")
    });
    assert_eq!(files.count(), 4);
    let has_worked = |executor: &Process| executor.said().contains("Finished task");
    assert!(cluster.executors.iter().all(has_worked), "{}", cluster.said());

    // Nothing is new, so nothing is done.
    let again = tuwen(crawl.path(), &[&RUN[..], &on_cluster].concat());
    let again: serde_json::Value = serde_json::from_str(&text(&again)).unwrap();
    for stage in again["stages"].as_array().unwrap() {
        assert_eq!(stage["commits"], 0, "{again}");
    }

    // What changes a part of the rows, and another rule, which changes all.
    let more = "text,url,filename\n一只猫,,no-such.jpg\n";
    std::fs::write(crawl.path().join("more.csv"), more).unwrap();
    for corpus in ["local", "clustered"] {
        let cluster: &[&str] = if corpus == "local" { &[] } else { &on_cluster[2..] };
        let with = |args: &[&str]| {
            text(&tuwen(crawl.path(), &[args, &["--corpus", corpus], cluster].concat()));
        };
        with(&["run", "more.csv", "--tokenizer", "tokenizer.json", "--allow-private-hosts"]);
        with(&[
            "curate",
            "--tokenizer",
            "tokenizer.json",
            "--split",
            "hash",
            "--set",
            "curate.group_near=true",
        ]);
    }
    assert_eq!(tables(crawl.path(), "local"), tables(crawl.path(), "clustered"));

    queries(&crawl, &cluster);
    assert!(get(&cluster.address, "/readyz").contains("ready"));
}

fn queries(crawl: &Crawl, cluster: &Cluster) {
    for query in [
        "select split, reject_reason, count(*) as n from examples group by all order by 1, 2",
        "select count(*) as n from examples e join images i using (image_id) where i.width > 10",
        "select pair_id, clean_caption(text) as clean, tokenize(text) as ids from pairs order by 1 limit 20",
        "select image_id, octet_length(resize(bytes, 32)) as n from originals where outcome = 'ok' order by 1, 2 limit 5",
        "select reason, count(*) as n from rejects group by reason order by 1",
        "select count(*) as n from pairs where url not in (select locator from originals where locator is not null)",
        "select count(*) as n from pairs where not exists (select 1 from images where width < octet_length(text))",
        "select count(*) as n from pairs full join images on width < octet_length(text)",
        "select (select max(n_tokens) from examples) - avg(n_tokens) as n from examples",
        "select count(*) as n from history",
        "select column_name from information_schema.columns where table_name = 'pairs' order by 1",
    ] {
        let args = ["sql", query, "--corpus", "clustered", "--format", "csv", "--set"];
        let args =
            [&args[..], &["curate.tokenizer=tokenizer.json", "--set", "cluster_least_bytes=0"]]
                .concat();
        let here = text(&tuwen(crawl.path(), &args));
        let there =
            text(&tuwen(crawl.path(), &[&args[..], &["--cluster", &cluster.address]].concat()));
        assert_eq!(here, there, "{query}");
        assert!(here.lines().count() > 1, "{query}: {here}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let crawl = Crawl::new(Duration::ZERO);
    text(&tuwen(crawl.path(), &[&RUN[..], &["--corpus", "local"]].concat()));
    for (address, expected) in [
        ("nowhere", "cluster: expected HOST:PORT, found nowhere"),
        ("host:port", "cluster: expected HOST:PORT, found host:port"),
    ] {
        let args = ["curate", "--tokenizer", "tokenizer.json", "--corpus", "local"];
        let output = tuwen(crawl.path(), &[&args[..], &["--cluster", address]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected), "{said}");
        assert_eq!(output.status.code(), Some(1), "{said}");
    }
    for args in [["--help", ""], ["scheduler", "--help"], ["executor", "--help"]] {
        let output = tuwen(crawl.path(), &args[..if args[1].is_empty() { 1 } else { 2 }]);
        assert!(text(&output).contains("Examples:"));
    }
    let output = tuwen(crawl.path(), &["executor", "--vcores", "0"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("expected 1 or more"));
}
