//! Which split a pair is in: by the rule that is chosen, the same when the corpus grows, and the corpus's own where nobody says one.

use std::fs;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::cli::{stdout, tuwen};
use crate::corpus::{png, tokenizer};

/// Source, file name, and the grey level of the picture; captions differ.
const ROWS: [(&str, &str, u8); 9] = [
    ("train.csv", "0000.jpg", 10),
    ("train.csv", "test_tube.jpg", 40),
    ("train.csv", "same.jpg", 70),
    ("test.csv", "test/train_station.jpg", 100),
    ("test.csv", "same2.jpg", 70),
    ("val.csv", "1.jpg", 130),
    ("val.csv", "same3.jpg", 160),
    ("crawl.csv", "train-2.jpg", 160),
    ("crawl.csv", "3.jpg", 190),
];

const SOURCES: [&str; 4] = ["train.csv", "test.csv", "val.csv", "crawl.csv"];

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    fs::create_dir_all(at.join("images/test")).unwrap();
    for source in SOURCES {
        let mut csv = "text,filename\n".to_owned();
        for (i, (_, name, level)) in ROWS.iter().enumerate().filter(|(_, row)| row.0 == source) {
            csv += &format!("红圆{i},{name}\n");
            fs::write(at.join("images").join(name), png(*level)).unwrap();
        }
        fs::write(at.join(source), csv).unwrap();
    }
    tokenizer(at);
    folder
}

fn run(at: &Path, args: &[&str]) -> Output {
    let fixed = ["run", "--image-dir", "images", "--tokenizer", "tokenizer.json"];
    // Flat pictures are near-identical by their hashes; here those are that are equal.
    let rules = ["--set", "curate.near_difference=0", "--set", "decode.size=32"];
    tuwen(at, &[&fixed[..], &rules, args].concat())
}

fn fine(at: &Path, args: &[&str]) -> String {
    let output = run(at, args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

/// `file name: split or reason` of each pair.
fn splits(at: &Path) -> Vec<String> {
    let sql = "select filename || ': ' || coalesce(split, reject_reason) as fate
        from pairs join examples on pair_id = example_id order by source, source_line";
    let csv = stdout(&tuwen(at, &["sql", sql, "--format", "csv"]));
    csv.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn what_an_ordinary_person_expects_is_the_default() {
    let folder = folder();
    let at = folder.path();
    fine(at, &[&SOURCES[..], &["--split-shares", "train=1"]].concat());
    let by_auto = [
        // What no name says is by hash, of which all is training data here.
        "train-2.jpg: leak",
        "3.jpg: train",
        "test/train_station.jpg: test",
        "same2.jpg: test",
        "0000.jpg: train",
        "test_tube.jpg: train",
        "same.jpg: leak",
        "1.jpg: validation",
        "same3.jpg: validation",
    ];
    assert_eq!(splits(at), by_auto);
    // Nobody says it again: it is kept.
    fine(at, &[]);
    assert_eq!(splits(at), by_auto);

    // The original's rule, said aloud: what is called neither is in its test split.
    let said = fine(at, &["--split", "filename"]);
    assert!(said.contains("curate.split: the corpus was split by auto (train=1,"), "{said}");
    let by_filename = [
        "train-2.jpg: leak",
        "3.jpg: test",
        "test/train_station.jpg: train",
        "same2.jpg: test",
        "0000.jpg: test",
        "test_tube.jpg: test",
        "same.jpg: test",
        "1.jpg: test",
        "same3.jpg: test",
    ];
    assert_eq!(splits(at), by_filename);

    let sql = "sql: case when source = 'val.csv' or filename like '3%' then 'validation' else 'train' end";
    fine(at, &["--split", sql]);
    let found = splits(at);
    assert_eq!(found[0], "train-2.jpg: leak");
    assert_eq!(found.iter().filter(|row| row.ends_with(": validation")).count(), 3, "{found:?}");
    let verified = tuwen(at, &["verify", "--full"]);
    assert_eq!(verified.status.code(), Some(0), "{}", stdout(&verified));
}

#[test]
fn hashes_split_by_shares_and_growth_moves_nothing() {
    let folder = folder();
    let at = folder.path();
    let shares = "train=0.5,validation=0.25,test=0.25";
    fine(at, &["train.csv", "test.csv", "--split", "hash", "--split-shares", shares]);
    let first = splits(at);
    let said = fine(at, &["val.csv", "crawl.csv"]);
    assert!(!said.contains("curate.split"), "{said}");
    let grown = splits(at);
    assert!(first.iter().all(|row| grown.contains(row)), "{first:?}\n{grown:?}");
    // Whoever asks the tables finds the same: a quarter of the ids begin with 0 to 3.
    let counts = "select
            count(distinct split) > 1 as several,
            count(case when split <> case
                when image_id < '4' then 'test' when image_id < '8' then 'validation' else 'train'
            end then 1 end) as wrong
        from examples";
    let counts = stdout(&tuwen(at, &["sql", counts, "--format", "csv"]));
    assert_eq!(counts, "several,wrong\ntrue,0\n");
    // All captions of an image are in one split, so no hash makes a leak of equal images.
    assert!(!grown.iter().any(|row| row.ends_with("leak")), "{grown:?}");
}

#[test]
fn a_rule_that_does_not_hold_leaves_examples_as_they_were() {
    let folder = folder();
    let at = folder.path();
    fine(at, &SOURCES);
    let before = splits(at);
    for (split, code, expected) in [
        (
            "sql: case when filename like '0%' then 'dev' else 'train' end",
            1,
            "found `dev` for train.csv line 2",
        ),
        ("sql: case when filename like '0%' then 'test' end", 1, "found `null` for"),
        ("sql: split", 2, "curate.split: expected an SQL expression, found `split`"),
        (
            "random",
            2,
            "curate.split: expected one of kept, auto, source, filename, hash, or sql: EXPRESSION, found `random`",
        ),
    ] {
        let output = run(at, &["--split", split]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{said}");
        assert_eq!(splits(at), before);
    }
    let output = run(at, &["--split-shares", "train=0.9,test=0.2"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && said.contains("expected shares that are 1 together"),
        "{said}"
    );
    // None of them is kept.
    let said = fine(at, &[]);
    assert!(!said.contains("curate.split"), "{said}");
}

/// A row that two sources have is a pair of each of their splits, whichever came first, and whenever.
#[test]
fn the_same_row_in_several_sources_is_for_the_test_split() {
    let fates = |runs: &[&[&str]]| {
        let folder = TempDir::new().unwrap();
        let at = folder.path();
        fs::create_dir(at.join("images")).unwrap();
        for (name, level) in [("1.jpg", 10), ("2.jpg", 70), ("3.jpg", 130)] {
            fs::write(at.join("images").join(name), png(level)).unwrap();
        }
        let row = |i: u32| format!("红圆{i},{i}.jpg\n");
        for (name, rows) in [
            ("train.csv", [1, 2, 3].map(row).concat()),
            ("test.csv", row(1)),
            ("val.csv", row(1) + &row(2)),
        ] {
            fs::write(at.join(name), format!("text,filename\n{rows}")).unwrap();
        }
        tokenizer(at);
        for sources in runs {
            fine(at, sources);
        }
        let before = splits(at);
        // All of it again adds nothing.
        fine(at, &["val.csv", "train.csv", "test.csv"]);
        assert_eq!(splits(at), before);
        before
    };
    let expected = [
        "1.jpg: test",
        "1.jpg: leak",
        "2.jpg: leak",
        "3.jpg: train",
        "1.jpg: leak",
        "2.jpg: validation",
    ];
    for runs in [
        &[&["train.csv", "val.csv", "test.csv"][..]][..],
        &[&["test.csv", "val.csv", "train.csv"]],
        &[&["train.csv"], &["test.csv"], &["val.csv"]],
        &[&["val.csv", "test.csv"], &["train.csv"]],
    ] {
        assert_eq!(fates(runs), expected, "{runs:?}");
    }
}
