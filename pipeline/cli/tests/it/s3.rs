//! A corpus in a bucket, against a server of the S3 protocol: `moto`, a Python package in `.venv`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use tuwen_schemas::TABLES;
use tuwen_stream::{Stream, StreamOptions};

use crate::cli::{RUN, folder, stdout, tuwen};
use crate::python::python_with;

/// Set in the process that has the bucket's address in its environment.
const INSIDE: &str = "TEST_S3_INSIDE";

/// The file in which the server writes a line for each request.
const LOG: &str = "TEST_S3_LOG";

const BUCKET: &str = "s3://bucket/a/corpus";

/// A server that ends with the test.
pub(crate) struct Server {
    process: Child,
    address: String,
    log: NamedTempFile,
}

impl Server {
    /// None without moto.
    pub(crate) fn start() -> Option<Self> {
        let python = python_with("moto.server")?;
        // At an address where no other test listens, so that nobody takes the port before it does.
        let address = TcpListener::bind("127.0.252.1:0").unwrap().local_addr().unwrap();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let log = NamedTempFile::new().unwrap();
        let process = Command::new(python)
            .args(["-m", "moto.server", "-H", &host, "-p", &port])
            .stdout(Stdio::null())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let server = Self { process, address: address.to_string(), log };
        let patience = Instant::now() + Duration::from_secs(180);
        while TcpStream::connect(&server.address).is_err() {
            assert!(Instant::now() < patience, "the S3 server does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let head = "PUT /bucket HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Some(server)
    }
}

impl Server {
    /// Runs the test `name` again in a process whose environment says where the server is; [`inside`] is true there.
    pub(crate) fn run(&self, name: &str) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .env(LOG, self.log.path())
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.address))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1")
            .output()
            .unwrap();
        let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success(), "{}\n{}", said[0], said[1]);
        assert!(said[0].contains("1 passed"), "{}", said[0]);
    }
}

/// Whether this process was begun by [`Server::run`].
pub(crate) fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Requests that [`inside`] the server has answered.
fn n_requests() -> usize {
    let log = std::fs::read_to_string(std::env::var_os(LOG).unwrap()).unwrap();
    log.lines().filter(|line| line.contains(" /bucket/") || line.contains(" /bucket?")).count()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn a_bucket_holds_a_corpus_as_a_folder_does() {
    if inside() {
        return check();
    }
    let Some(server) = Server::start() else { return };
    // The address belongs in the environment, which only a new process can be given.
    server.run("s3::a_bucket_holds_a_corpus_as_a_folder_does");
}

fn check() {
    let folder = folder();
    let run = |more: &[&str]| {
        let output = tuwen(folder.path(), &[&RUN[..], &["--json"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str::<serde_json::Value>(&stdout(&output)).unwrap()
    };
    run(&[]);
    let first = run(&["--corpus", BUCKET]);
    assert_eq!(first["stages"][3]["rows_out"], 2, "{first}");
    let again = run(&["--corpus", BUCKET]);
    for stage in again["stages"].as_array().unwrap() {
        assert_eq!(stage["commits"], 0, "{again}");
    }

    let pictures = |location: &str| {
        let read = |split: &str| {
            let options = StreamOptions { split: split.to_owned(), ..StreamOptions::default() };
            let stream = Stream::open(location, options).unwrap();
            let batches = stream.epoch(0, 0).unwrap().map(Result::unwrap);
            batches.map(|batch| (batch.example_ids[0].to_string(), batch.pixels)).next().unwrap()
        };
        ["train", "test"].map(read).into_iter().collect::<BTreeMap<_, _>>()
    };
    let local = folder.path().join("corpus").display().to_string();
    assert!(pictures(BUCKET) == pictures(&local), "other pixels, or other ids");
    for (corpus, out) in [(BUCKET, "of-bucket"), (&local, "of-folder")] {
        let args = ["export", "--format", "webdataset", "--corpus", corpus, "-o", out];
        let output = tuwen(folder.path(), &args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let shard = |out: &str| std::fs::read(folder.path().join(out).join("train/00000.tar")).unwrap();
    assert!(shard("of-bucket") == shard("of-folder"), "an export of a bucket differs");

    let query =
        "select text, pixels_crc32 from examples join images using (image_id) order by text";
    let answers = [BUCKET, &local].map(|corpus| {
        let output = tuwen(folder.path(), &["sql", query, "--corpus", corpus, "--format", "csv"]);
        stdout(&output)
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].lines().count(), 3, "{}", answers[0]);

    let n_asked = |query: &str| {
        let before = n_requests();
        let output = tuwen(folder.path(), &["sql", query, "--corpus", BUCKET]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        n_requests() - before
    };
    // Of each table: its newest checkpoint, its log, and the few commits of that.
    let one = n_asked("select 1");
    assert!((TABLES.len()..=12 * TABLES.len()).contains(&one), "{one} requests");
    let counted = n_asked("select count(*) from examples");
    assert!(counted <= one + 16, "{counted} requests, {one} of which for the logs");
}
