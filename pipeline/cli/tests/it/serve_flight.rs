//! `tuwen serve` for programs, asked by the drivers that people use (`serve_flight.py`): rows, metadata, parameters, streams,
//! cancellation, bounds, sessions, access, hostile messages; and how it starts and stops.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;
use tuwen_schemas::{COMMENT, TABLES};

use crate::cli::{RUN, folder, stdout, tuwen};
use crate::house::root;
use crate::python::python_with;

const CLIENT: &str = "adbc_driver_flightsql.dbapi, pyarrow.flight";

fn corpus() -> TempDir {
    let folder = folder();
    let run = tuwen(folder.path(), &RUN);
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    folder
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A server of a corpus, until it is dropped.
struct Serving {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    flight: String,
    page: String,
}

impl Serving {
    /// Serves `corpus` in `folder` at ports that are free.
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tuwen"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TUWEN_")) {
            command.env_remove(name);
        }
        let ports = ["serve", "--flight", "127.0.0.1:0", "--page", "127.0.0.1:0"];
        command.args(ports).args(args).current_dir(folder).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (mut flight, mut page) = (String::new(), String::new());
        while page.is_empty() {
            let line = lines.next().expect("the server says where it is").unwrap();
            let url = line.rsplit(' ').next().unwrap().to_owned();
            match &line {
                line if line.contains("Arrow Flight SQL: ") => flight = url,
                line if line.contains("page: ") => page = url,
                _ => {}
            }
            said.lock().unwrap().push(line);
        }
        let rest = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                rest.lock().unwrap().push(line);
            }
        });
        Self { child, said, flight, page }
    }

    /// Sends the signal that systemd and Kubernetes send.
    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// The exit code.
    fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(step: &str, args: &[&str]) -> Option<Command> {
    let mut command = Command::new(python_with(CLIENT)?);
    command.arg(root().join("pipeline/cli/tests/it/serve_flight.py")).arg(step).args(args);
    Some(command)
}

/// Runs a step of the client to its end; false without one.
fn ask(folder: &Path, step: &str, args: &[&str]) -> bool {
    let Some(mut command) = client(step, args) else { return false };
    let output = command.current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{step}: {}{}", stdout(&output), stderr(&output));
    true
}

#[test]
fn rows_are_those_of_the_command() {
    let folder = corpus();
    let at = folder.path();
    let mut files = serde_json::Map::new();
    for (n, query) in [
        "select * from pairs order by pair_id",
        "select * from images order by image_id",
        "select * from examples order by example_id",
        "select * from originals order by locator",
        "select stage, reason from rejects",
        "select a.image_id, b.image_id, a.width from images a join images b on a.image_id = b.image_id order by 1",
        "select * from (values (1, '红', 1.5, true), (null, '', null, null)) as t(n, text, x, b)",
        "select text from examples where false",
        "select count(*) as n, make_array(1, null) as list, x'00ff' as bytes, timestamp '2026-11-30 08:00:00' as t from images@v1",
        "select split, count(*) as n from examples group by split order by split",
    ]
    .iter()
    .enumerate()
    {
        let file = format!("{n}.parquet");
        let wrote = tuwen(at, &["sql", query, "-o", &file]);
        assert_eq!(wrote.status.code(), Some(0), "{query}: {}", stderr(&wrote));
        files.insert(file, json!(query));
    }
    let serving = Serving::start(at, &[]);
    ask(at, "rows", &[&serving.flight, &json!(files).to_string()]);
}

#[test]
fn clients_see_what_there_is() {
    let folder = corpus();
    let at = folder.path();
    let mut columns = serde_json::Map::new();
    for table in TABLES.iter() {
        let names: Vec<&String> = table.schema.fields().iter().map(|field| field.name()).collect();
        columns.insert(table.name.to_owned(), json!(names));
    }
    for view in ["rejects", "hosts", "history"] {
        let described = tuwen(at, &["sql", &format!("describe {view}"), "--format", "json"]);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&stdout(&described)).unwrap();
        let names: Vec<_> = rows.iter().map(|row| row["column_name"].clone()).collect();
        columns.insert(view.to_owned(), json!(names));
    }
    let (images, originals) = (tuwen_schemas::table("images"), tuwen_schemas::table("originals"));
    let width = images.schema.field_with_name("width").unwrap();
    let expected = json!({
        "columns": columns,
        "version": env!("CARGO_PKG_VERSION"),
        "width": width.metadata()[COMMENT],
        "key": originals.key,
    });
    let serving = Serving::start(at, &[]);
    ask(at, "metadata", &[&serving.flight, &expected.to_string()]);
}

#[test]
fn parameters_and_errors_are_as_people_know_them() {
    let folder = corpus();
    let serving = Serving::start(folder.path(), &[]);
    ask(folder.path(), "params", &[&serving.flight]);
    ask(folder.path(), "errors", &[&serving.flight]);
}

#[test]
fn rows_come_as_fast_as_they_are_read_and_queries_end_with_their_clients() {
    let folder = corpus();
    let serving = Serving::start(folder.path(), &[]);
    ask(folder.path(), "stream", &[&serving.flight, &serving.page, "1000000"]);
    let serving = Serving::start(folder.path(), &[]);
    ask(folder.path(), "cancel", &[&serving.flight, &serving.page]);
}

#[test]
fn what_is_too_much_is_refused_and_the_others_are_answered() {
    let folder = corpus();
    let bounds = ["--timeout", "6s", "--max-queries", "1", "--memory-limit", "64M"];
    let serving = Serving::start(folder.path(), &bounds);
    ask(folder.path(), "bounds", &[&serving.flight, &serving.page]);
}

#[test]
fn a_session_stays_at_its_snapshot() {
    let folder = corpus();
    let at = folder.path();
    let serving = Serving::start(at, &[]);
    let Some(mut command) = client("sessions", &[&serving.flight]) else { return };
    talk(&mut command, || {
        std::fs::write(at.join("more.csv"), "text,url,filename\n红,,train-0.jpg\n").unwrap();
        let run = tuwen(at, &[&["run", "more.csv"], &RUN[2..]].concat());
        assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    });
}

/// Runs a client that is `ready`, waits for `then`, and goes on.
fn talk(command: &mut Command, then: impl FnOnce()) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if line == "ready\n" {
        then();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{line}{}", stderr(&output));
}

#[test]
fn only_those_with_the_token_are_answered() {
    let folder = corpus();
    let at = folder.path();
    let token = "0123456789abcdef0123456789abcdef";
    std::fs::write(at.join("token"), format!("{token}\n")).unwrap();
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
                   -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem";
    let made = Command::new("openssl").args(request.split_whitespace()).current_dir(at).output();
    let made = made.expect("openssl makes certificates");
    assert!(made.status.success(), "{}", stderr(&made));
    let files = ["--token-file", "token", "--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let serving = Serving::start(at, &files);
    assert!(serving.flight.starts_with("grpc+tls://127.0.0.1:"), "{}", serving.flight);
    ask(at, "access", &[&serving.flight, &serving.page, "cert.pem", token]);
    assert!(!serving.said().contains(token));
    // What it says of how to connect works as it stands.
    let said = serving.said();
    let lines: Vec<&str> =
        said.lines().filter_map(|line| line.split_once("hint: ")).map(|(_, hint)| hint).collect();
    let script = lines[1..].join("\n");
    if let Some(python) = python_with(CLIENT) {
        let ran = Command::new(python).args(["-c", &script]).current_dir(at).output().unwrap();
        assert!(
            ran.status.success() && stdout(&ran).contains("split"),
            "{script}\n{}",
            stderr(&ran)
        );
    }
}

#[test]
fn hostile_messages_are_answered() {
    let folder = corpus();
    let serving = Serving::start(folder.path(), &[]);
    ask(folder.path(), "hostile", &[&serving.flight]);
    assert!(!serving.said().contains("panicked"), "{}", serving.said());
}

#[test]
fn a_server_that_others_could_read_does_not_start() {
    let folder = corpus();
    let at = folder.path();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    std::fs::write(at.join("token"), "0123456789abcdef").unwrap();
    std::fs::write(at.join("short"), "0123").unwrap();
    for (args, code, expected) in [
        (
            &["--flight", "0.0.0.0:50051"][..],
            2,
            "error: serve.flight: 0.0.0.0:50051 can be reached from elsewhere, which needs a token and TLS, found none\n\
             hint: (umask 077; openssl rand -hex 32 > token)\n\
             hint: openssl req -x509 -newkey ec",
        ),
        (
            &["--page", "[::]:8080", "--token-file", "token"],
            2,
            "error: serve.page: [::]:8080 can be reached from elsewhere, which needs TLS, found none\nhint: openssl req",
        ),
        (
            &["--token-file", "short"],
            2,
            "error: serve.token_file, short: expected a token of at least 16 ASCII letters and no blanks, found 4 bytes\n",
        ),
        (&["--token-file", "gone"], 1, "error: serve.token_file: reading gone: No such file"),
        (
            &["--tls-cert", "token", "--tls-key", "token"],
            2,
            "error: serve.tls_cert, token: expected a certificate in PEM",
        ),
        (
            &["--tls-cert", "token"],
            2,
            "error: TLS: expected serve.tls_key, the key of serve.tls_cert, found nothing\n",
        ),
        (
            &["--flight", "off", "--page", "none"],
            2,
            "error: serve.flight and serve.page: expected an address for one of them",
        ),
        (
            &["--flight", "50051"],
            2,
            "error: serve.flight: expected ADDRESS:PORT, such as 127.0.0.1:50051, or off, found `50051`\n",
        ),
        (&["--max-queries", "0"], 2, "error: serve.max_queries: expected 1 to 1000, found 0"),
        (&["--page", "off", "--flight", &taken], 1, "another program listens at"),
        (&["--corpus", "gone"], 1, "error: no corpus at `gone`"),
    ] {
        let output = tuwen(at, &[&["serve"], args].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn it_stops_when_what_is_under_way_has_ended() {
    let folder = corpus();
    let at = folder.path();
    let mut serving = Serving::start(at, &[]);
    if let Some(mut command) = client("graceful", &[&serving.flight]) {
        talk(&mut command, || serving.terminate());
    } else {
        serving.terminate();
    }
    assert_eq!(serving.wait(), Some(0), "{}", serving.said());
}
