//! Sources of every format, packing and encoding: the same rows are the same pairs, and what cannot be read is refused before anything
//! is written. The files and the answers are Python's (tests/sources/make.py).

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tuwen_etl::ingest::{Sources, ingest};
use tuwen_settings::IngestSettings;

use crate::cli::{stdout, tuwen};
use crate::corpus::Crawl;

const PAIRS: &str = "select pair_id, text, url, filename from pairs order by pair_id";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sources")
}

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join("files")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn open(file: &Path) -> Sources {
    let columns = match file.file_name().unwrap().to_str().unwrap() {
        "header-less.tsv" => "text=1,url=2,filename=3",
        _ => "",
    };
    let settings = IngestSettings { columns: columns.to_owned(), ..IngestSettings::default() };
    Sources::open(&[file.to_owned()], &settings, 50.0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rows_in_any_format_and_encoding_are_the_same_pairs() {
    let text = fs::read_to_string(folder().join("expected.json")).unwrap();
    let expected: Vec<Vec<String>> = serde_json::from_str(&text).unwrap();
    let all = Crawl::new();
    let files = files();
    assert!(files.len() > 15, "{files:?}");
    for file in files {
        let crawl = Crawl::new();
        let report = ingest(&crawl.corpus().await, &open(&file), &crawl.stop).await.unwrap();
        assert_eq!((report.rows_out, report.known), (8, 0), "{}", file.display());
        assert_eq!(crawl.query(PAIRS).await, expected, "{}", file.display());
        ingest(&all.corpus().await, &open(&file), &all.stop).await.unwrap();
    }
    // In one corpus each but the first added nothing.
    assert_eq!(all.query(PAIRS).await, expected);
}

#[test]
fn what_cannot_be_read_is_refused_by_name_and_leaves_nothing() {
    let big5 = fs::read(folder().join("files/big5.csv")).unwrap();
    let parquet = fs::read(folder().join("files/laion.snappy.parquet")).unwrap();
    let cut = &parquet[..parquet.len() / 2];
    let packed = fs::read(folder().join("files/tab.tsv.gz")).unwrap();
    let zstd = fs::read(folder().join("files/objects.ndjson.zst")).unwrap();
    let korean = "text,url\n\u{bb}\u{a1}\u{b0}\u{a3} \u{b5}\u{e5},http://a/1\n".chars();
    let korean: Vec<u8> = korean.map(|c| c as u8).collect();
    for (name, bytes, expected) in [
        (
            "a.csv",
            "标题,图片\n红裙,http://a/1.jpg\n".as_bytes(),
            "a.csv: expected the columns `text` and `url` or `filename`, found `标题,图片`\nhint: --columns text=标题,url=图片",
        ),
        (
            "cc12m.tsv",
            b"https://a/1.jpg\ta red dress\n",
            "cc12m.tsv: expected the columns `text` and `url` or `filename`, found `https://a/1.jpg,a red dress`\nhint: --columns text=2,url=1",
        ),
        ("a.jsonl", b"{\"alt\":\"t\",\"link\":\"//a/1\"}", "hint: --columns text=alt,url=link"),
        (
            "a.json",
            b"[\n{\"text\":\"t\",\"url\":\"u\"}]",
            "found a list\nhint: jq -c '.[]' a.json > a.jsonl",
        ),
        ("korean.csv", &korean, "found what looks like EUC-KR\nhint: --encoding EUC-KR"),
        ("a.csv", b"\xff\xfe\0\0t\0\0\0", "a.csv: expected text, found UTF-32"),
        ("book.csv", b"PK\x03\x04....", "found a ZIP archive or an Excel workbook"),
        ("a.parquet", b"text,url\n", "a.parquet: expected a Parquet file, found none"),
        ("a.parquet", cut, "a.parquet: expected a Parquet file"),
        ("a.csv.gz", b"\x1f\x8b\x08 is no gzip", "a.csv.gz: unpacking it"),
        (
            "a.csv",
            b"\xef\xbb\xbf\n",
            "a.csv: expected the columns `text` and `url` or `filename`, found an empty file\nhint: leave it out",
        ),
        (
            "a b.jsonl",
            b"{\n \"text\": \"t\",\n \"url\": \"u\"\n}\n",
            "found an object over several lines\nhint: jq -c . 'a b.jsonl' > 'a b.lines.jsonl'",
        ),
        (
            "a.tsv.gz",
            &packed[..packed.len() - 20],
            "a.tsv.gz: expected a whole gzip file, found one that is cut off: ",
        ),
        (
            "a.tsv.gz",
            &packed[..packed.len() - 20],
            "hint: copy it once more; gzip -t a.tsv.gz says",
        ),
        (
            "a.jsonl.zst",
            &zstd[..zstd.len() / 2],
            "a.jsonl.zst: expected a whole zstd file, found one that is cut off: 0 bytes come out of it",
        ),
        (
            "a.csv",
            b"text,url\na\nb\n",
            "a.csv: expected rows in UTF-8, at most 50 % of them malformed (max_rejected_percent), found 2 malformed of \
             the first 2; line 2: expected 2 fields, found 1: a\nhint: mend it, or --set max_rejected_percent=100",
        ),
        (
            "a.csv",
            b"text,url\na\nb\nc\nd\ne\nf\ng,u\nh,v\n",
            "found 6 malformed of the first 8; line 2",
        ),
    ] {
        let at = TempDir::new().unwrap();
        fs::write(at.path().join("good.csv"), &big5).unwrap();
        fs::write(at.path().join(name), bytes).unwrap();
        let output = tuwen(at.path(), &["fetch", "good.csv", name]);
        let said = String::from_utf8_lossy(&output.stderr);
        // That rows are malformed is a gate.
        let code = if expected.contains("malformed") { 3 } else { 1 };
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{expected}\n{said}");
        assert!(!at.path().join("corpus").exists(), "{name}");
    }
}

/// What a person says of the encoding is obeyed, unless no row comes of it.
#[test]
fn a_wrong_encoding_is_told() {
    let run = |file: &str, args: &[&str]| {
        let at = TempDir::new().unwrap();
        fs::create_dir(at.path().join("images")).unwrap();
        fs::copy(folder().join("files").join(file), at.path().join("crawl.csv")).unwrap();
        let fixed = ["fetch", "crawl.csv", "--image-dir", "images"];
        let output = tuwen(at.path(), &[&fixed[..], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said, at.path().join("corpus").exists())
    };
    let (code, said, is_made) = run("gb18030.csv", &["--encoding", "utf-8"]);
    assert_eq!((code, is_made), (Some(3), false), "{said}");
    for part in ["crawl.csv: expected rows in UTF-8, at most 50 %", "\nhint: --encoding gb18030\n"]
    {
        assert!(said.contains(part), "{said}");
    }
    let (code, said, _) = run("gb18030.csv", &["--encoding", "utf-8", "--force"]);
    assert_eq!(code, Some(0), "{said}");
    for (file, told, found) in
        [("utf-8.csv", "gb18030", "UTF-8"), ("gb18030.csv", "windows-1252", "gb18030")]
    {
        let (_, said, _) = run(file, &["--encoding", told, "--force"]);
        let expected = format!("read as {told}, as ingest.encoding says; it looks like {found}");
        assert!(said.contains(&expected), "{said}");
    }
    let (_, said, _) = run("gbk.csv", &["--encoding", "GBK", "--force"]);
    assert!(!said.contains("it looks like"), "{said}");
}

#[test]
fn what_a_hint_says_works_and_what_is_told_is_obeyed() {
    let at = TempDir::new().unwrap();
    fs::create_dir(at.path().join("images")).unwrap();
    let korean: Vec<u8> = "text,url\n\u{bb}\u{a1}\u{b0}\u{a3} \u{b5}\u{e5},http://a/1\n"
        .chars()
        .map(|c| c as u8)
        .collect();
    fs::write(at.path().join("korean.csv"), korean).unwrap();
    fs::write(at.path().join("a.tsv"), "标题\t图片\n红裙\thttp://a/2\n").unwrap();
    let fetch = |args: &[&str]| {
        let fixed = ["fetch", "--image-dir", "images", "--force"];
        let output = tuwen(at.path(), &[&fixed[..], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    };
    fetch(&["korean.csv", "--encoding", "EUC-KR"]);
    fetch(&["a.tsv", "--columns", "text=标题,url=图片"]);
    let sql = ["sql", "select text, url from pairs order by url", "--format", "csv"];
    assert_eq!(stdout(&tuwen(at.path(), &sql)), "text,url\n빨간 드,http://a/1\n红裙,http://a/2\n");
    for args in [["--encoding", "klingon"], ["--columns", "caption"]] {
        let output = tuwen(at.path(), &[&["fetch", "a.tsv"][..], &args].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("ingest.{}: expected", &args[0][2..])), "{said}");
    }
}

/// A file in GB 18030, then the same in UTF-8: nothing of the first try is left beside the second.
#[test]
fn a_converted_file_leaves_no_ghosts() {
    let at = TempDir::new().unwrap();
    let count = || {
        let sql = "select count(*) as n, count(malformed) as bad from pairs";
        stdout(&tuwen(at.path(), &["sql", sql, "--format", "csv"]))
    };
    fs::create_dir(at.path().join("images")).unwrap();
    for file in ["gb18030.csv", "utf-8.csv", "utf-16.csv"] {
        fs::copy(folder().join("files").join(file), at.path().join("crawl.csv")).unwrap();
        let output = tuwen(at.path(), &["fetch", "crawl.csv", "--image-dir", "images", "--force"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(count(), "n,bad\n8,0\n", "{file}");
    }
}
