//! A crawl of four hosts, and what a corpus that was made of it holds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use tempfile::TempDir;
use tuwen_sample::corpus::Corpus;
use tuwen_sample::crawl::CrawlOptions;
use tuwen_sample::scene::SceneOptions;

use crate::processes::tuwen;

/// Columns of each table that do not say when something was done, or in which order.
const TABLES: [(&str, &str); 4] = [
    ("pairs", "*"),
    (
        "originals",
        "locator, image_id, md5(bytes) as bytes, media_type, outcome, http_status, detail, attempt, bytes_len, content_type, wire_bytes",
    ),
    (
        "images",
        "* exclude (thumb, look, pixels), md5(thumb) as thumb, md5(look) as look, md5(pixels) as pixels",
    ),
    ("examples", "*"),
];

/// A folder with a crawl, whose hosts answer as long as it is there.
pub(crate) struct Crawl {
    pub(crate) folder: TempDir,
}

impl Crawl {
    /// Of some 100 rows, with every mishap; hosts take `delay` for an answer.
    pub(crate) fn new(delay: Duration) -> Self {
        Self::of_hosts(move || std::thread::sleep(delay))
    }

    /// The same; before each answer a host waits as `wait` does.
    pub(crate) fn of_hosts(wait: impl Fn() + Clone + Send + 'static) -> Self {
        let folder = TempDir::new().unwrap();
        let scene = SceneOptions { two_objects: false, min_px: 160, max_px: 420 };
        let options = CrawlOptions { scenes: 90, seed: 5, clean: false, scene };
        let base = "http://127.0.0.1:1";
        Corpus::new(&options).write(folder.path(), base).unwrap();
        let hosts: Vec<String> =
            (1..=4).map(|n| host(n, folder.path().join("images"), wait.clone())).collect();
        for name in ["train.csv", "test.csv"] {
            let path = folder.path().join(name);
            let text = std::fs::read(&path).unwrap();
            // A row in another encoding stays as it is.
            let mut out = Vec::new();
            let mut rest = text.as_slice();
            while let Some(at) = rest.windows(base.len()).position(|bytes| bytes == base.as_bytes())
            {
                out.extend_from_slice(&rest[..at]);
                rest = &rest[at + base.len()..];
                let digit = rest.iter().find(|byte| byte.is_ascii_digit()).unwrap_or(&b'0');
                out.extend_from_slice(hosts[usize::from(digit % 4)].as_bytes());
            }
            out.extend_from_slice(rest);
            std::fs::write(&path, out).unwrap();
        }
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A host that serves `images` until the process ends.
fn host(number: u8, images: PathBuf, wait: impl Fn() + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind((format!("127.0.0.{number}"), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (images, wait) = (images.clone(), wait.clone());
            std::thread::spawn(move || answer(stream, &images, wait));
        }
    });
    format!("http://{address}")
}

/// Answers one request; a connection that breaks is the other side's affair.
fn answer(mut stream: TcpStream, images: &Path, wait: impl Fn()) -> Option<()> {
    let mut head = BufReader::new(stream.try_clone().ok()?).lines();
    let request = head.next()?.ok()?;
    head.find(|line| line.as_ref().is_ok_and(String::is_empty))?.ok()?;
    let name = request.split_whitespace().nth(1)?.trim_start_matches('/');
    let name = name.split('?').next()?;
    wait();
    let file = std::fs::read(images.join(name)).ok().filter(|_| !name.contains('/'));
    let (status, body) = match file {
        Some(bytes) => ("200 OK", bytes),
        None => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).ok()
}

/// The rows of all tables, sorted.
pub(crate) fn tables(folder: &Path, corpus: &str) -> BTreeMap<&'static str, Vec<String>> {
    let rows = TABLES.map(|(table, columns)| {
        let query = format!("select {columns} from {table}");
        let output = tuwen(folder, &["sql", &query, "--corpus", corpus, "--format", "ndjson"]);
        let mut rows: Vec<String> = text(&output).lines().map(str::to_owned).collect();
        rows.sort();
        (table, rows)
    });
    rows.into_iter().collect()
}

/// What `output` says on stdout, of a command that succeeded.
pub(crate) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Parquet files of each table: those on the disk and those of the log, which `tuwen verify` compares.
pub(crate) fn assert_whole(folder: &Path, corpus: &str) {
    let verified = tuwen(folder, &["verify", "--full", "--corpus", corpus]);
    text(&verified);
    assert!(!folder.join(corpus).join("_scratch").exists(), "scratch is left");
    let mut orphans = String::new();
    std::io::Cursor::new(&verified.stdout).read_to_string(&mut orphans).unwrap();
    assert!(!orphans.contains("orphan"), "{orphans}");
}
