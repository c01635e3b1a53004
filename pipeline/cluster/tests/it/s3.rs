//! A corpus in a bucket, against a server of the S3 protocol: `moto`, a Python package in `.venv`.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::crawl::{Crawl, tables, text};
use crate::processes::{Cluster, Process, command, free_port, tuwen, until};
use crate::python::python;
use crate::same::RUN;

const CORPUS: &str = "s3://bucket/a/corpus";

fn start(python: &PathBuf, log: PathBuf) -> (Process, String) {
    let port = free_port().to_string();
    let address = format!("127.0.0.1:{port}");
    let mut moto = Command::new(python);
    moto.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]);
    let server = Process::start(moto, log);
    until("the S3 server", || TcpStream::connect(&address).is_ok());
    (server, address)
}

fn set(command: &mut Command, address: &str, key: &str) {
    command
        .env("AWS_ENDPOINT_URL", format!("http://{address}"))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", key)
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1");
}

#[test]
fn a_bucket_and_a_store_that_refuses() {
    let Some(python) = python("moto.server") else { return };
    let crawl = Crawl::new(Duration::ZERO);
    let (_server, address) = start(&python, crawl.path().join("moto.log"));
    let make = [
        "-c",
        "import boto3, sys; boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id='a', aws_secret_access_key='b').create_bucket(Bucket='bucket')",
        &format!("http://{address}"),
    ];
    assert!(Command::new(&python).args(make).status().unwrap().success());
    text(&tuwen(crawl.path(), &[&RUN[..], &["--corpus", "local"]].concat()));

    let cluster = Cluster::start(2, |command| set(command, &address, "test"));
    let run = |cluster: &Cluster| {
        let args = [&RUN[..], &["--corpus", CORPUS, "--cluster", &cluster.address]].concat();
        let mut command = command(crawl.path(), &args);
        set(&mut command, &address, "test");
        command.output().unwrap()
    };
    // Executors whose store is not there: one line says why.
    let nowhere = Cluster::start(1, |command| {
        set(command, "127.0.0.1:9", "test");
        command.env("AWS_MAX_RETRIES", "0");
    });
    let refused = run(&nowhere);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.contains("127.0.0.1:9") || last.contains("s3"), "{said}");
    assert!(!last.contains("DataFusionError") && !last.contains("tuwen says"), "{last}");

    text(&run(&cluster));
    let query = |table: &str| {
        let mut command = command(
            crawl.path(),
            &[
                "sql",
                &format!("select count(*) as n from {table}"),
                "--corpus",
                CORPUS,
                "--format",
                "csv",
                "--cluster",
                &cluster.address,
            ],
        );
        set(&mut command, &address, "test");
        text(&command.output().unwrap())
    };
    for (table, rows) in tables(crawl.path(), "local") {
        assert_eq!(query(table), format!("n\n{}\n", rows.len()), "{table}");
    }
}
