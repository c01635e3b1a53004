//! A corpus that tuwen 0.1.0 made (tests/corpus-0.1.0: 32 rows of the sample crawl, pictures of 16 px): it is opened, run on, and brought
//! up to date, with its rows as they were. The trainer's tests train from it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cli::{stdout, tuwen};
use crate::races::copy_folder;

const ROWS: &str =
    "select example_id, split, text, reject_reason from examples order by example_id";

fn sample(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample").join(file).display().to_string()
}

fn corpus() -> TempDir {
    let folder = TempDir::new().unwrap();
    let made: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus-0.1.0");
    copy_folder(&made, &folder.path().join("corpus"));
    folder
}

#[test]
fn a_corpus_of_0_1_0_is_opened_run_on_and_migrated() {
    let folder = corpus();
    let at = folder.path();
    let ask = |sql: &str| {
        let output = tuwen(at, &["sql", sql, "--format", "csv"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        stdout(&output)
    };
    let before = ask(ROWS);
    assert_eq!(before.lines().count(), 33);
    assert_eq!(ask("select count(*) from runs where outcome is null"), "count(*)\n4\n");

    // Run on before it is migrated, and after: the old rows are judged by today's rules, which are the same.
    let (csv, images, tokenizer) =
        (sample("train.csv"), sample("images"), sample("tokenizer.json"));
    let run =
        ["run", &csv, "--image-dir", &images, "--tokenizer", &tokenizer, "--set", "decode.size=16"];
    let fine = |args: &[&str]| {
        let output = tuwen(at, args);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        stdout(&output)
    };
    std::fs::write(at.join("no-new.csv"), "text,url,filename\n").unwrap();
    fine(&[
        "run",
        "no-new.csv",
        "--image-dir",
        &images,
        "--tokenizer",
        &tokenizer,
        "--set",
        "decode.size=16",
    ]);
    assert_eq!(ask(ROWS), before);
    fine(&["verify", "--full"]);
    fine(&["migrate"]);
    assert_eq!(
        ask("select count(*) from runs where outcome is null and stage <> 'migrate'"),
        "count(*)\n5\n"
    );
    fine(&run);
    fine(&["verify", "--full"]);
    assert_eq!(ask("select outcome from runs order by run_id desc limit 1"), "outcome\nok\n");
    assert_eq!(ask("select count(*) > 90 as grown from pairs"), "grown\ntrue\n");
}

/// Its table `runs` cannot say how a run ended.
#[test]
fn a_red_run_on_a_corpus_of_0_1_0_is_not_taken_for_a_good_one() {
    let folder = corpus();
    let (csv, images, tokenizer) =
        (sample("train.csv"), sample("images"), sample("tokenizer.json"));
    let run = |more: &[&str]| {
        let fixed = ["run", &csv, "--image-dir", &images, "--tokenizer", &tokenizer];
        let args = [&fixed[..], &["--set", "decode.size=16"], more].concat();
        let output = tuwen(folder.path(), &args);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for _ in 0..2 {
        let (code, said) = run(&["--set", "curate.min_examples=100000"]);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("hint: tuwen migrate"), "{said}");
    }
    let (code, said) = run(&[]);
    assert_eq!(code, Some(0), "{said}");
    let args = ["sql", "select count(*) > 90 as grown from examples", "--format", "csv"];
    assert_eq!(stdout(&tuwen(folder.path(), &args)), "grown\ntrue\n");
}
