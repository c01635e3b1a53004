//! verify, repair, optimize, vacuum, migrate and history on small corpora that are broken in known
//! ways, as an operator meets them: by the binary.

mod damage;
mod upkeep;
mod versions;

use std::path::{Path, PathBuf};

use datafusion::prelude::DataFrame;
use serde_json::Value;
use tuwen_corpus::report::StageReport;
use tuwen_corpus::{Author, Change, Committed, Rows, TableVersions};
use tuwen_etl::fetch::Origin;

use crate::cli::{stdout, tuwen};
use crate::corpus::{Crawl, png};

/// Every column that must come through a repair, in an order of its own.
const TABLES: [&str; 4] = [
    "select * from pairs order by pair_id",
    "select seq, locator, image_id, md5(bytes), media_type, outcome, attempt, elapsed_ms, cast(fetched_at as varchar)
     from originals order by locator, attempt",
    "select image_id, width, format, dhash, md5(thumb), codec, md5(pixels), pixels_crc32, reject_reason, detail
     from images order by image_id",
    "select example_id, image_id, split, text, cast(input_ids as varchar), reject_reason from examples order by 1",
];

/// A corpus of `n` pictures, four files of `images` for every twelve of them.
struct Small {
    crawl: Crawl,
    csv: PathBuf,
    pictures: PathBuf,
}

impl Small {
    async fn new(n: u8) -> Self {
        let mut crawl = Crawl::new();
        let pictures = crawl.folder.path().join("pictures");
        std::fs::create_dir(&pictures).unwrap();
        let mut rows = Vec::new();
        for i in 0..n {
            let name = format!("train-{i:02}.png");
            std::fs::write(pictures.join(&name), png(5 * i)).unwrap();
            rows.push(format!("红圆{i},,{name}"));
        }
        // One that cannot be decoded, and one that is not there.
        std::fs::write(pictures.join("train-90.png"), b"no picture").unwrap();
        rows.push("红圆,,train-90.png".to_owned());
        rows.push("红圆,,train-91.png".to_owned());
        crawl.settings.decode.size = 16;
        crawl.settings.decode.chunk_images = 3;
        crawl.settings.fetch.chunk_bytes = 500;
        let csv = crawl.csv("crawl.csv", &rows);
        let small = Self { crawl, csv, pictures };
        small.run().await;
        small
    }

    async fn run(&self) -> Vec<StageReport> {
        let origin = Origin::Folder(self.pictures.clone());
        self.crawl.run(std::slice::from_ref(&self.csv), origin).await
    }

    async fn tables(&self) -> Vec<Vec<Vec<String>>> {
        let mut tables = Vec::new();
        for sql in TABLES {
            tables.push(self.crawl.query(sql).await);
        }
        tables
    }

    async fn versions(&self) -> TableVersions {
        self.crawl.corpus().await.snapshot().await.unwrap().versions()
    }

    fn folder(&self) -> &Path {
        self.crawl.folder.path()
    }

    /// The files of table `name`, the oldest first.
    async fn files(&self, name: &str) -> Vec<PathBuf> {
        let snapshot = self.crawl.corpus().await.snapshot().await.unwrap();
        let state = snapshot.delta(name).snapshot().unwrap();
        let mut files: Vec<(i64, String)> = state
            .log_data()
            .iter()
            .map(|file| (file.modification_time(), file.path().into_owned()))
            .collect();
        files.sort();
        let folder = self.folder().join("corpus").join(name);
        files.into_iter().map(|(_, path)| folder.join(path)).collect()
    }

    /// Runs a command that prints JSON: its exit code, and that.
    fn json(&self, args: &[&str]) -> (Option<i32>, Value) {
        let output = tuwen(self.folder(), &[args, &["--json"]].concat());
        let json = serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| {
            panic!("{args:?}: {error}: {}", String::from_utf8_lossy(&output.stderr))
        });
        (output.status.code(), json)
    }

    /// Runs a command that must end well; what it prints.
    fn fine(&self, args: &[&str]) -> Value {
        let (code, json) = self.json(args);
        assert_eq!(code, Some(0), "{args:?}: {json}");
        json
    }

    /// What verify finds: `kind table n`, sorted.
    fn findings(&self, args: &[&str]) -> Vec<String> {
        let (code, report) = self.json(&[&["verify"], args].concat());
        let findings = report["findings"].as_array().unwrap();
        assert_eq!(
            (code, report["whole"].as_bool()),
            match findings.len() {
                0 => (Some(0), Some(true)),
                _ => (Some(1), Some(false)),
            }
        );
        let mut said: Vec<String> = findings
            .iter()
            .map(|f| {
                assert!(!f["hint"].as_str().unwrap().is_empty(), "{f}");
                let text = |key: &str| f[key].as_str().unwrap().to_owned();
                let audit = match f["kind"] == "failed_audit" {
                    true => text("what").split(' ').nth(1).unwrap().to_owned(),
                    false => text("table"),
                };
                format!("{} {} {}", text("kind"), audit.trim_end_matches(':'), f["n"])
            })
            .collect();
        said.sort();
        said
    }

    /// Commits rows of table `name` made from those that it has, as a run would that did not look;
    /// their file is as old as `modified_ms` says.
    async fn commit(
        &self,
        name: &str,
        modified_ms: Option<i64>,
        rows: impl FnOnce(DataFrame) -> DataFrame,
    ) {
        let mut snapshot = self.crawl.corpus().await.snapshot().await.unwrap();
        let ctx = snapshot.session(Rows::Heavy).await.unwrap();
        let rows = rows(ctx.table(name).await.unwrap());
        let mut adds = snapshot.write_files(name, rows, 0).await.unwrap().adds;
        for add in &mut adds {
            add.modification_time = modified_ms.unwrap_or(add.modification_time);
        }
        let author = Author { stage: "test", run_id: String::new() };
        let change = Change { adds, ..Change::default() };
        let committed = snapshot.commit(name, change, &author).await.unwrap();
        assert_eq!(committed, Committed::Yes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_corpus_is_whole_and_nothing_is_written() {
    let small = Small::new(12).await;
    let before = small.versions().await;
    for args in [&[][..], &["--full"]] {
        assert!(small.findings(args).is_empty());
    }
    let report = small.fine(&["verify"]);
    assert_eq!(report["notes"], serde_json::json!([]), "{report}");
    let images = &report["tables"][2];
    assert_eq!((images["table"].as_str(), images["rows"].as_u64()), (Some("images"), Some(13)));
    for command in ["repair", "migrate"] {
        small.fine(&[command]);
    }
    assert_eq!(small.versions().await, before);
    let text = stdout(&tuwen(small.folder(), &["verify"]));
    assert!(text.contains("whole: footers, keys and audits in "), "{text}");
}
