//! The stages on small crawls: nothing vanishes, nothing is done twice, nothing half done is seen.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::report::StageReport;
use tuwen_corpus::{Author, Change, Corpus, Rows, TableVersions};
use tuwen_etl::curate::{Gates, curate};
use tuwen_etl::decode::decode;
use tuwen_etl::fetch::{Origin, fetch};
use tuwen_etl::ingest::{Sources, ingest};
use tuwen_settings::{IngestSettings, Settings};

use crate::server::{Answer, Server};

/// A grey picture of one level with a brighter corner, so that each level has bytes of its own.
pub(crate) fn png(level: u8) -> Vec<u8> {
    let picture =
        image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([level, (x * 6) as u8, (y * 8) as u8]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A word-level tokenizer with `[CLS]` and `[SEP]` around each caption.
pub(crate) fn tokenizer(folder: &Path) -> PathBuf {
    let path = folder.join("tokenizer.json");
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "Split", "pattern": { "Regex": "." }, "behavior": "Isolated", "invert": false },
        "post_processor": { "type": "TemplateProcessing",
            "single": [ { "SpecialToken": { "id": "[CLS]", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
                        { "SpecialToken": { "id": "[SEP]", "type_id": 0 } } ],
            "pair": [ { "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } } ],
            "special_tokens": { "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] } } },
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": { "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "红": 4, "圆": 5 }, "unk_token": "[UNK]" }
    });
    std::fs::write(&path, json.to_string()).unwrap();
    path
}

/// Files with the columns text, url and filename.
pub(crate) fn sources(files: &[PathBuf]) -> Sources {
    Sources::open(files, &IngestSettings::default(), 100.0).unwrap()
}

/// A corpus in the making.
pub(crate) struct Crawl {
    pub(crate) folder: TempDir,
    pub(crate) settings: Settings,
    pub(crate) stop: CancellationToken,
}

impl Crawl {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mut settings = Settings {
            corpus: folder.path().join("corpus").display().to_string(),
            ..Settings::default()
        };
        settings.fetch.allow_private_hosts = true;
        // What may pass is asked for again by the next run, not at the end of this one.
        settings.fetch.longest_wait_secs = 0;
        settings.max_rejected_percent = 100.0;
        settings.curate.tokenizer = tokenizer(folder.path()).display().to_string();
        Self { folder, settings, stop: CancellationToken::new() }
    }

    pub(crate) fn csv(&self, name: &str, rows: &[String]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, format!("text,url,filename\n{}\n", rows.join("\n"))).unwrap();
        path
    }

    pub(crate) async fn corpus(&self) -> Corpus {
        Corpus::open_or_create(&self.settings.corpus).await.unwrap()
    }

    pub(crate) async fn run(&self, files: &[PathBuf], origin: Origin) -> Vec<StageReport> {
        let corpus = self.corpus().await;
        vec![
            ingest(&corpus, &sources(files), &self.stop).await.unwrap(),
            fetch(&corpus, origin, &self.settings.fetch, None, &self.stop).await.unwrap(),
            decode(&corpus, &self.settings.decode, &[], None, &self.stop).await.unwrap(),
            curate(&corpus, &self.settings, Gates::Judge, &self.stop).await.unwrap(),
        ]
    }

    /// Rows of a query, each cell as text.
    pub(crate) async fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let snapshot = self.corpus().await.snapshot().await.unwrap();
        let ctx = tuwen_etl::sql::session(&snapshot, &self.settings).await.unwrap();
        let mut rows = Vec::new();
        for batch in ctx.sql(sql).await.unwrap().collect().await.unwrap() {
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| cast(column, &DataType::Utf8).unwrap())
                .collect();
            for i in 0..batch.num_rows() {
                let cell = |column: &std::sync::Arc<dyn Array>| match column.is_null(i) {
                    true => "null".to_owned(),
                    false => column.as_string::<i32>().value(i).to_owned(),
                };
                rows.push(columns.iter().map(cell).collect());
            }
        }
        rows
    }

    async fn versions(&self) -> TableVersions {
        self.corpus().await.snapshot().await.unwrap().versions()
    }

    /// pairs = examples in splits + rejected, by the tables themselves.
    async fn assert_sums(&self) {
        let sums = self
            .query(
                "select (select count(*) from pairs) as pairs, (select count(*) from examples) as examples,
                        (select count(*) from examples where split is not null) as in_splits,
                        (select count(*) from examples where reject_reason is not null) as rejected",
            )
            .await;
        let n: Vec<u64> = sums[0].iter().map(|cell| cell.parse().unwrap()).collect();
        assert_eq!((n[0], n[0]), (n[1], n[2] + n[3]), "pairs = examples = in splits + rejected");
    }
}

fn reasons(report: &StageReport) -> Vec<(&str, u64)> {
    report.rejected.iter().map(|(reason, n)| (reason.as_str(), *n)).collect()
}

/// A crawl with one row of every fate; `{}` is the server.
fn hostile_rows(base: &str) -> Vec<String> {
    let mut rows: Vec<String> = [
        "红圆,{}/a.png,train-0.jpg",
        "红圆,{}/b.png,test-0.jpg",
        "圆红,{}/b.png,train-1.jpg", // leak: identical to a test image
        "红圆,{}/a.png,train-2.jpg", // duplicate_caption
        "红圆二600_600,{}/a.png,train-3.jpg", // cleaned
        "红圆,{}/missing.png,train-4.jpg", // fetch_failed: 404
        "红圆,{}/page.jpg,train-5.jpg", // image_rejected: HTML with status 200
        "红圆,{}/empty.jpg,train-6.jpg", // image_rejected: zero bytes
        " ,{}/a.png,train-7.jpg",    // empty_caption
        "红,{}/a.png,train-8.jpg",   // short_caption
        "只有文件名,,train-9.jpg",   // not_fetched
        "什么都没有,,",              // no_locator
        "too,few",                   // malformed_line
        "红圆,ftp://host/x.png,train-10.jpg", // fetch_failed: bad_url
        "红圆三,{}/moved,train-11.jpg", // redirect to a
    ]
    .iter()
    .map(|row| row.replace("{}", base))
    .collect();
    rows.push(format!("{},{base}/a.png,train-12.jpg", "长".repeat(201)));
    rows.extend((0..12).map(|i| format!("占位图{i},{base}/placeholder.png,train-{}.jpg", 100 + i)));
    rows
}

fn answers() -> HashMap<String, Answer> {
    HashMap::from([
        ("/a.png".to_owned(), Answer::Body(png(10))),
        ("/b.png".to_owned(), Answer::Body(png(200))),
        ("/page.jpg".to_owned(), Answer::Body(b"<!DOCTYPE html><html>gone</html>".to_vec())),
        ("/empty.jpg".to_owned(), Answer::Body(Vec::new())),
        ("/moved".to_owned(), Answer::Redirect("/a.png".to_owned())),
        ("/placeholder.png".to_owned(), Answer::Body(png(90))),
        ("/new.png".to_owned(), Answer::Body(png(130))),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_ends_in_one_place_and_a_second_run_commits_nothing() {
    let server = Server::start(answers());
    let crawl = Crawl::new();
    let csv = crawl.csv("crawl.csv", &hostile_rows(&server.base));
    let reports = crawl.run(std::slice::from_ref(&csv), Origin::Http).await;

    assert_eq!((reports[0].rows_in, reports[0].rows_out), (28, 27));
    assert_eq!(
        reasons(&reports[1]),
        [("bad_url", 1), ("empty", 1), ("http_status", 1), ("not_an_image", 1)]
    );
    assert_eq!(reasons(&reports[2]), []);
    assert_eq!(
        reasons(&reports[3]),
        [
            ("duplicate_caption", 1),
            ("empty_caption", 1),
            ("fetch_failed", 4),
            ("leak", 1),
            ("long_caption", 1),
            ("malformed_line", 1),
            ("no_locator", 1),
            ("not_fetched", 1),
            ("placeholder_image", 12),
            ("short_caption", 1),
        ]
    );
    crawl.assert_sums().await;
    let rows = crawl
        .query("select split, text, cast(input_ids as varchar), n_tokens from examples where split is not null order by text, split")
        .await;
    assert_eq!(
        rows,
        [
            ["test", "红圆", "[2, 4, 5, 3]", "4"],
            ["train", "红圆", "[2, 4, 5, 3]", "4"],
            ["train", "红圆三", "[2, 4, 5, 1, 3]", "5"],
            ["train", "红圆二", "[2, 4, 5, 1, 3]", "5"],
        ]
    );
    assert!(server.hits().values().all(|n| *n <= 2), "{:?}", server.hits());
    assert_eq!(server.hits()["/b.png"], 1, "rows that share a URL fetch it once");

    let before = crawl.versions().await;
    let again = crawl.run(&[csv], Origin::Http).await;
    assert_eq!(crawl.versions().await, before, "nothing new: no commit");
    assert!(again.iter().all(|report| report.commits == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_csv_handles_its_new_rows_only() {
    let server = Server::start(answers());
    let crawl = Crawl::new();
    let mut rows = vec![format!("红圆,{}/a.png,train-0.jpg", server.base)];
    let csv = crawl.csv("crawl.csv", &rows);
    crawl.run(std::slice::from_ref(&csv), Origin::Http).await;
    rows.insert(0, format!("圆红,{}/new.png,train-1.jpg", server.base));
    let csv = crawl.csv("crawl.csv", &rows);
    let reports = crawl.run(&[csv], Origin::Http).await;
    assert_eq!((reports[0].rows_out, reports[0].known), (1, 1));
    assert_eq!((reports[1].rows_in, reports[2].rows_in), (1, 1));
    assert_eq!(server.hits()["/a.png"], 1);
    crawl.assert_sums().await;
    assert_eq!((reports[3].rows_in, reports[3].rows_out, reports[3].known), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_rows_are_kept_and_told() {
    let server = Server::start(answers());
    let crawl = Crawl::new();
    let row = format!("红圆,{}/a.png,train-0.jpg", server.base);
    let csv = crawl.csv("crawl.csv", &[row.clone(), row.clone(), row]);
    let reports = crawl.run(&[csv], Origin::Http).await;
    assert_eq!(reports[0].rows_out, 3);
    assert_eq!(reasons(&reports[3]), [("duplicate_caption", 2)]);
    crawl.assert_sums().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_folder_is_matched_by_file_name() {
    let crawl = Crawl::new();
    let pictures = crawl.folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    std::fs::write(pictures.join("train-0.jpg"), png(10)).unwrap();
    let rows = ["红圆,,train-0.jpg", "红圆,http://10.0.0.1/x,train-1.jpg", "红圆,,../train-0.jpg"];
    let csv = crawl.csv("crawl.csv", &rows.map(str::to_owned));
    let reports = crawl.run(&[csv], Origin::Folder(pictures)).await;
    assert_eq!(reasons(&reports[1]), [("missing_file", 1), ("unreadable", 1)]);
    assert_eq!((reports[3].rows_out, reasons(&reports[3])), (1, vec![("fetch_failed", 2)]));
    crawl.assert_sums().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_hosts_are_not_asked_unless_told_to() {
    let server = Server::start(answers());
    let mut crawl = Crawl::new();
    crawl.settings.fetch.allow_private_hosts = false;
    let by_name = server.base.replace("127.0.0.1", "localhost");
    let rows = [
        format!("红圆,{}/a.png,train-0.jpg", server.base),
        format!("红圆,{by_name}/a.png,train-1.jpg"),
    ];
    let csv = crawl.csv("crawl.csv", &rows);
    let reports = crawl.run(&[csv], Origin::Http).await;
    assert_eq!(reasons(&reports[1]), [("private_host", 2)]);
    assert!(server.hits().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_locators_are_tried_again_when_asked() {
    let server = Server::start(answers());
    let mut crawl = Crawl::new();
    let csv = crawl.csv("crawl.csv", &[format!("红圆,{}/missing.png,train-0.jpg", server.base)]);
    crawl.run(std::slice::from_ref(&csv), Origin::Http).await;
    crawl.settings.fetch.retry_failed = true;
    let before = crawl.versions().await;
    let reports = crawl.run(&[csv], Origin::Http).await;
    assert_eq!((reports[1].commits, reports[3].commits), (1, 0));
    assert_eq!(crawl.versions().await["examples"], before["examples"], "no row of it is another");
    let attempts =
        crawl.query("select seq, attempt, outcome, http_status from originals order by seq").await;
    assert_eq!(attempts, [["0", "1", "http_status", "404"], ["1", "2", "http_status", "404"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_one_give_the_same_corpus() {
    let server = Server::start(answers());
    let mut corpora = Vec::new();
    for chunk in [1, 8192] {
        let mut crawl = Crawl::new();
        crawl.settings.decode.chunk_images = chunk;
        crawl.settings.fetch.chunk_bytes = chunk as u64;
        crawl.settings.fetch.concurrency = 1;
        let csv = crawl.csv("crawl.csv", &hostile_rows(&server.base));
        crawl.run(&[csv], Origin::Http).await;
        let examples = crawl
            .query(
                "select example_id, image_id, split, text, reject_reason from examples order by 1",
            )
            .await;
        let images = crawl.query("select image_id, width, height, format, color, dhash, md5(pixels), reject_reason from images order by 1").await;
        corpora.push((examples, images));
    }
    assert_eq!(corpora[0], corpora[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_caption_rule_rewrites_examples_only() {
    let server = Server::start(answers());
    let mut crawl = Crawl::new();
    let csv = crawl.csv("crawl.csv", &hostile_rows(&server.base));
    crawl.run(std::slice::from_ref(&csv), Origin::Http).await;
    let before = crawl.versions().await;
    crawl.settings.curate.min_chars = 1;
    let reports = crawl.run(&[csv], Origin::Http).await;
    assert!(!reports[3].rejected.contains_key("short_caption"));
    let changed: Vec<_> = crawl
        .versions()
        .await
        .into_iter()
        .filter(|(table, version)| before[table] != *version)
        .map(|(table, _)| table)
        .collect();
    assert_eq!(changed, ["examples", "runs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn near_identical_images_do_not_sit_in_two_splits() {
    let crawl = Crawl::new();
    let pictures = crawl.folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let photo = |shift: u32| {
        image::RgbImage::from_fn(300, 200, |x, y| {
            let wave = |f: f32| {
                (127.0 + 120.0 * ((x + shift) as f32 * f + y as f32 * f * 0.7).sin()) as u8
            };
            image::Rgb([wave(0.05), wave(0.03), wave(0.011)])
        })
    };
    photo(0).save(pictures.join("train-0.png")).unwrap();
    image::imageops::resize(&photo(0), 240, 160, image::imageops::FilterType::Triangle)
        .save(pictures.join("test-0.png"))
        .unwrap();
    photo(90).save(pictures.join("train-1.png")).unwrap();
    let rows = ["红圆,,train-0.png", "红圆,,test-0.png", "红圆,,train-1.png"].map(str::to_owned);
    let csv = crawl.csv("crawl.csv", &rows);
    crawl.run(&[csv], Origin::Folder(pictures)).await;
    let fates = crawl
        .query("select filename, coalesce(split, reject_reason) from examples join pairs on pair_id = example_id order by 1")
        .await;
    assert_eq!(fates, [["test-0.png", "test"], ["train-0.png", "leak"], ["train-1.png", "train"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_audit_leaves_examples_as_they_were() {
    let server = Server::start(answers());
    let crawl = Crawl::new();
    let csv = crawl.csv("crawl.csv", &[format!("红圆,{}/a.png,train-0.jpg", server.base)]);
    crawl.run(&[csv], Origin::Http).await;
    // The same image a second time, as a broken writer would leave it.
    let corpus = crawl.corpus().await;
    let mut snapshot = corpus.snapshot().await.unwrap();
    let ctx = snapshot.session(Rows::Light).await.unwrap();
    let images = ctx.table("images").await.unwrap();
    let files = snapshot.write_files("images", images, 0).await.unwrap();
    let change = Change { adds: files.adds, ..Change::default() };
    let author = Author { stage: "test", run_id: "1".to_owned() };
    snapshot.commit("images", change, &author).await.unwrap();
    let before = crawl.versions().await;
    let error =
        curate(&corpus, &crawl.settings, Gates::Judge, &crawl.stop).await.unwrap_err().to_string();
    assert!(error.contains("sql/audits/one_row_an_image.sql: expected no rows, found"), "{error}");
    let after = crawl.versions().await;
    let changed: Vec<_> =
        after.iter().filter(|(name, version)| before[*name] != **version).collect();
    assert_eq!(
        changed.len(),
        1,
        "only `runs`, which has a row for the run that failed: {changed:?}"
    );
    let last = "select stage, outcome, error like '%one_row_an_image%' from runs order by run_id desc limit 1";
    assert_eq!(crawl.query(last).await, [["curate", "failed", "true"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_tell_what_was_done() {
    let server = Server::start(answers());
    let crawl = Crawl::new();
    let csv = crawl.csv("crawl.csv", &hostile_rows(&server.base));
    crawl.run(&[csv], Origin::Http).await;
    let rows = crawl
        .query("select stage, rows_in, rows_out, rows_rejected['short_caption'] from runs order by run_id")
        .await;
    let stages: BTreeMap<&str, &[String]> =
        rows.iter().map(|row| (row[0].as_str(), &row[1..])).collect();
    assert_eq!(stages["ingest"], ["28", "27", "null"]);
    assert_eq!(stages["curate"][2], "1");
    assert_eq!(rows.len(), 4);
}
