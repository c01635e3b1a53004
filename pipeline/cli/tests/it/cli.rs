//! The binary as people and schedulers meet it: exit codes, one-line errors, stdout for data only.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::corpus::{png, tokenizer};

pub(crate) fn tuwen(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tuwen"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TUWEN_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).args(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A folder with a CSV, its pictures and a tokenizer.
pub(crate) fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("pictures")).unwrap();
    std::fs::write(at.join("pictures/train-0.jpg"), png(10)).unwrap();
    std::fs::write(at.join("pictures/test-0.jpg"), png(200)).unwrap();
    std::fs::write(
        at.join("crawl.csv"),
        "text,url,filename\n红圆,,train-0.jpg\n圆红,,test-0.jpg\n",
    )
    .unwrap();
    tokenizer(at);
    folder
}

pub(crate) const RUN: [&str; 6] =
    ["run", "crawl.csv", "--image-dir", "pictures", "--tokenizer", "tokenizer.json"];

#[test]
fn run_sql_config() {
    let folder = folder();
    let run = tuwen(folder.path(), &[&RUN[..], &["--json"]].concat());
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    let summary: serde_json::Value = serde_json::from_str(&stdout(&run)).unwrap();
    assert_eq!(summary["stages"][3]["stage"], "curate");
    assert_eq!(summary["stages"][3]["rows_out"], 2);

    let query =
        "select split, text, size_px as n from examples join images using (image_id) order by text";
    let csv = tuwen(folder.path(), &["sql", query, "--format", "csv"]);
    assert_eq!(stdout(&csv), "split,text,n\ntest,圆红,224\ntrain,红圆,224\n");
    let json = tuwen(folder.path(), &["sql", query, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(json[0]["text"], "圆红");
    let table = tuwen(
        folder.path(),
        &["sql", "select pixels, text from images join examples using (image_id) order by text"],
    );
    assert!(stdout(&table).contains("| <150528 bytes> | 圆红 |"), "{}", stdout(&table));

    std::fs::write(folder.path().join("tuwen.toml"), "[decode]\nsize = 128\n").unwrap();
    let config = tuwen(folder.path(), &["config", "--set", "fetch.concurrency=3"]);
    let config = stdout(&config);
    for words in [
        ["size", "128", "tuwen.toml", "Side"],
        ["concurrency", "3", "--set", "Requests"],
        ["max_bytes", "67108864", "default", "Largest"],
    ] {
        let found = config.lines().any(|line| line.split_whitespace().take(4).eq(words));
        assert!(found, "{words:?}: {config}");
    }
}

#[test]
fn a_wrong_setting_is_told_before_any_work() {
    let folder = folder();
    let at = folder.path();
    for (wrong, expected) in [
        (["--shard", "9/8"], "fetch.shard: expected K/N with K from 1 to N"),
        (["--retry", "404"], "fetch.retry: expected outcomes of "),
        (["--metrics", "here"], "fetch.metrics: expected ADDRESS:PORT"),
        (["--set", "fetch.headers=none.toml"], "none.toml"),
        (["--columns", "nonsense"], "nonsense"),
        (["--encoding", "nonsense"], "nonsense"),
        (["--set", "curate.clean=nonsense"], "curate.clean: expected names of caption rules"),
        (["--split", "sql: nonsense"], "curate.split: expected an SQL expression"),
    ] {
        let run = tuwen(at, &[&RUN[..], &wrong].concat());
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.code() == Some(2) && said.contains(expected), "{wrong:?}: {said}");
        assert!(!at.join("corpus").exists(), "{wrong:?}");
    }
    // Of curate alone it is the stage that finds it.
    assert_eq!(tuwen(at, &RUN).status.code(), Some(0));
    let wrong = ["curate", "--tokenizer", "tokenizer.json", "--split", "sql: nonsense"];
    assert_eq!(tuwen(at, &wrong).status.code(), Some(2));
}

#[test]
fn malformed_rows_are_a_gate_that_force_opens() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("crawl.csv"), "text,url,filename\n红圆\n圆红\n").unwrap();
    let run = tuwen(at, &RUN);
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.code() == Some(3) && said.contains("found 2 malformed"), "{said}");
    let forced = tuwen(at, &[&RUN[..], &["--force"]].concat());
    assert_eq!(forced.status.code(), Some(0), "{}", String::from_utf8_lossy(&forced.stderr));
}

#[test]
fn a_red_gate_is_exit_code_3_and_stays_red_until_it_is_forced() {
    let folder = folder();
    let at = folder.path();
    std::fs::remove_dir_all(at.join("pictures")).unwrap();
    std::fs::create_dir(at.join("pictures")).unwrap();
    let examples =
        || stdout(&tuwen(at, &["sql", "select count(*) as n from examples", "--format", "csv"]));
    for _ in 0..2 {
        let run = tuwen(at, &[&RUN[..], &["--json"]].concat());
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(3), "{said}");
        let expected =
            "max_rejected_percent: expected at most 50 % of 2 pairs rejected, found 100.0 %";
        assert!(said.contains(expected), "{said}");
        let summary: serde_json::Value = serde_json::from_str(&stdout(&run)).unwrap();
        let curate = summary["stages"].as_array().unwrap().last().unwrap();
        assert_eq!(curate["outcome"], "gate");
        assert!(!curate["run_id"].as_str().unwrap().is_empty());
        assert_eq!(examples(), "n\n0\n");
    }
    let forced = tuwen(at, &[&RUN[..], &["--force"]].concat());
    assert_eq!(forced.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&forced.stderr).contains("--force"));
    assert_eq!(examples(), "n\n2\n");

    // Fewest examples, and a person's own audit, on a corpus that is fine.
    let folder = self::folder();
    let at = folder.path();
    std::fs::create_dir(at.join("audits")).unwrap();
    std::fs::write(at.join("audits/短.sql"), "select text from examples where split = 'test'")
        .unwrap();
    for (set, expected) in [
        (
            "curate.min_examples=3",
            "curate.min_examples: expected at least 3 examples in splits, found 2",
        ),
        ("curate.audits=audits", "audits/短.sql: expected no rows, found"),
    ] {
        let run = tuwen(at, &[&RUN[..], &["--set", set]].concat());
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(3), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(tuwen(at, &RUN).status.code(), Some(0));
    // Nothing is new, and the gates of this run are others.
    let run = tuwen(at, &[&RUN[..], &["--set", "curate.min_examples=3"]].concat());
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.code() == Some(3) && said.contains("nothing was new"), "{said}");
    // An own audit reads, what all queries may read, and nothing else.
    std::fs::write(at.join("audits/短.sql"), "select * from rejects").unwrap();
    let audited = [&RUN[..], &["--set", "curate.audits=audits"]].concat();
    assert_eq!(tuwen(at, &audited).status.code(), Some(0));
    for audit in [
        "insert into pairs select * from pairs",
        "copy (select 1) to 'copied.csv'",
        "drop table pairs",
    ] {
        std::fs::write(at.join("audits/短.sql"), audit).unwrap();
        assert_eq!(tuwen(at, &audited).status.code(), Some(1), "{audit}");
    }
    assert!(!at.join("copied.csv").exists());
    let pairs = tuwen(at, &["sql", "select count(*) as n from pairs", "--format", "csv"]);
    assert_eq!(stdout(&pairs), "n\n2\n");
}

#[test]
fn the_gates_of_fetch_and_decode_stay_red() {
    let folder = folder();
    let at = folder.path();
    std::fs::remove_file(at.join("pictures/train-0.jpg")).unwrap();
    std::fs::write(at.join("pictures/test-0.jpg"), "no picture").unwrap();
    let gate = ["--set", "max_rejected_percent=40"];
    let fetch = [&["fetch", "crawl.csv", "--image-dir", "pictures"], &gate[..]].concat();
    let decode = [&["decode"], &gate[..]].concat();
    for (args, expected) in [
        (fetch, "expected at most 40 % of 2 locators rejected, found 50.0 % (missing_file 1)"),
        (decode, "expected at most 40 % of 1 images rejected, found 100.0 % (not_an_image 1)"),
    ] {
        for _ in 0..2 {
            let output = tuwen(at, &args);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{said}");
            assert!(said.contains(expected), "{said}");
        }
        assert_eq!(tuwen(at, &[&args[..], &["--force"]].concat()).status.code(), Some(0));
    }
}

#[test]
fn a_table_that_was_made_anew_is_read_anew() {
    let folder = folder();
    let at = folder.path();
    assert_eq!(tuwen(at, &RUN).status.code(), Some(0));
    std::fs::remove_dir_all(at.join("corpus/pairs")).unwrap();
    std::fs::write(at.join("pictures/train-1.jpg"), png(90)).unwrap();
    std::fs::write(at.join("crawl.csv"), "text,url,filename\n红红,,train-1.jpg\n").unwrap();
    let run = tuwen(at, &RUN);
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    let texts = tuwen(at, &["sql", "select text from examples", "--format", "csv"]);
    assert_eq!(stdout(&texts), "text\n红红\n");
}

#[test]
fn a_run_that_fails_has_an_object_and_a_row_and_the_log_is_json() {
    let folder = folder();
    let at = folder.path();
    assert_eq!(tuwen(at, &RUN).status.code(), Some(0));
    let args = ["fetch", "--image-dir", "gone", "--json", "--log", "json"];
    let failed = tuwen(at, &args);
    assert_eq!(failed.status.code(), Some(1));
    let object: serde_json::Value = serde_json::from_str(&stdout(&failed)).unwrap();
    let expected = "--image-dir gone: expected a folder with the pictures, found none";
    assert_eq!(object["error"], expected);
    assert_eq!(
        (&object["stages"][0]["outcome"], &object["stages"][0]["error"]),
        (&"failed".into(), &expected.into())
    );
    let last = String::from_utf8(failed.stderr).unwrap();
    let last: serde_json::Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert_eq!((&last["level"], &last["message"]), (&"error".into(), &expected.into()));
    let history: serde_json::Value =
        serde_json::from_str(&stdout(&tuwen(at, &["history", "--failed", "--json"]))).unwrap();
    assert_eq!(history[0]["error"], expected);
    assert_eq!(history[0]["run_id"], object["stages"][0]["run_id"]);
    // Nothing to do with a stage.
    let missing = tuwen(at, &["decode", "--corpus", "nowhere", "--json"]);
    let object: serde_json::Value = serde_json::from_str(&stdout(&missing)).unwrap();
    assert!(object["error"].as_str().unwrap().starts_with("no corpus at `nowhere`"), "{object}");
}

/// Each bad input: arguments, the exit code, what the message must say, and that nothing was written.
#[test]
fn bad_input_is_one_line_and_nothing_written() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("columns.csv"), "caption,link\na,b\n").unwrap();
    std::fs::write(at.join("zero.csv"), "").unwrap();
    std::fs::write(at.join("wrong.toml"), "[decode]\nsise = 128\n").unwrap();
    std::fs::write(at.join("notes.txt"), "no tokenizer").unwrap();
    std::fs::write(at.join("file"), "").unwrap();
    let cases: [(&[&str], i32, &str); 12] = [
        (
            &["fetch", "gone.csv"],
            1,
            "gone.csv: expected a file of CSV, TSV, JSON lines or Parquet: No such file",
        ),
        (
            &["fetch", "columns.csv"],
            1,
            "columns.csv: expected the columns `text` and `url` or `filename`, found `caption,link`",
        ),
        (
            &["fetch", "zero.csv"],
            1,
            "zero.csv: expected the columns `text` and `url` or `filename`, found an empty file",
        ),
        (
            &["fetch", "crawl.csv", "--corpus", "file/corpus"],
            1,
            "corpus `file/corpus`: cannot make the folder",
        ),
        (
            &["fetch", "crawl.csv", "--config", "wrong.toml"],
            2,
            "decode.sise: no such setting (wrong.toml)",
        ),
        (
            &["fetch", "crawl.csv", "--set", "fetch.concurrency=many"],
            2,
            "expected a whole number, 1 to 10000, found",
        ),
        (
            &["run", "crawl.csv", "--tokenizer", "notes.txt"],
            1,
            "notes.txt: expected a tokenizer.json of the tokenizers library",
        ),
        (
            &["run", "crawl.csv"],
            1,
            "curate.tokenizer: expected the path of a tokenizer.json, found nothing",
        ),
        (
            &["decode"],
            1,
            "no corpus at `corpus`: expected a folder with the tables pairs, originals",
        ),
        (
            &["fetch", "crawl.csv", "--corpus", "ftp://host/x"],
            1,
            "expected a folder or a URL of scheme file, s3, s3a, gs, az, abfs, abfss, found scheme `ftp`",
        ),
        (&["decode", "--size", "0"], 2, "decode.size: expected 1 to 4096, found 0"),
        (&["vacuum", "--older-than", "6d"], 2, "--older-than: expected at least 7d, found 6d"),
    ];
    for (args, code, expected) in cases {
        let output = tuwen(at, args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        let error: Vec<&str> = stderr.lines().filter(|line| !line.starts_with("hint:")).collect();
        assert!(error.len() == 1 && error[0].contains(expected), "{args:?}: {stderr}");
        assert!(!at.join("corpus").exists(), "{args:?} wrote something");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_corpus_of_another_version_or_shape_is_refused() {
    for (from, to, expected) in [
        (
            "\"tuwen.schema_version\":\"3\"",
            "\"tuwen.schema_version\":\"0\"",
            "schema version is 0, this tuwen reads versions 2 to 3",
        ),
        (
            "\\\"name\\\":\\\"n_tokens\\\",\\\"type\\\":\\\"integer\\\"",
            "\\\"name\\\":\\\"n_tokens\\\",\\\"type\\\":\\\"long\\\"",
            "table `examples`: column `n_tokens` is long, schemas/examples.sql says integer",
        ),
    ] {
        let folder = folder();
        let run = tuwen(folder.path(), &RUN);
        assert_eq!(run.status.code(), Some(0));
        let log = folder.path().join("corpus/examples/_delta_log/00000000000000000000.json");
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&log, text.replace(from, to)).unwrap();
        for args in [&["sql", "select 1"][..], &["decode"], &RUN] {
            let output = tuwen(folder.path(), args);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            assert!(stderr.contains(expected), "{stderr}");
        }
    }
}

#[test]
fn sql_is_read_only() {
    let folder = folder();
    assert_eq!(tuwen(folder.path(), &RUN).status.code(), Some(0));
    for query in [
        "delete from pairs",
        "create table t as select 1",
        "insert into runs select * from runs",
        "drop table pairs",
    ] {
        let output = tuwen(folder.path(), &["sql", query]);
        assert_eq!(output.status.code(), Some(1), "{query}");
    }
}

#[test]
fn bench_prints_tables_or_one_json_object_and_leaves_nothing() {
    let folder = folder();
    let at = folder.path();
    assert_eq!(tuwen(at, &RUN).status.code(), Some(0));
    std::fs::create_dir(at.join("disk")).unwrap();
    let storage =
        ["bench", "storage", "disk", "--size-mb", "16", "--threads", "2", "--seconds", "0.1"];
    let stream = ["bench", "stream", "--readers", "2", "--seconds", "0.1"];
    for (args, key, sentence) in [
        (&storage[..], "recommendation", "choose decode.codec = "),
        (&stream[..], "first_batch_s", "% of copy"),
    ] {
        let json = tuwen(at, &[args, &["--json"]].concat());
        assert_eq!(json.status.code(), Some(0), "{}", String::from_utf8_lossy(&json.stderr));
        let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
        assert!(!json[key].is_null(), "{json}");
        let text = stdout(&tuwen(at, args));
        assert!(text.contains(sentence), "{text}");
    }
    assert_eq!(std::fs::read_dir(at.join("disk")).unwrap().count(), 0);
    for (args, expected) in [
        (
            ["bench", "storage", "nowhere"],
            "expected a folder on the disk to be measured, found none",
        ),
        (["bench", "stream", "--split=none"], "split none is empty"),
    ] {
        let output = tuwen(at, &args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.contains(expected), "{stderr}");
    }
}
