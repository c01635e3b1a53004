//! `tuwen export`: what is written is what the corpus holds, as webdataset, `datasets` and DuckDB read it; a killed export ends as the same
//! bytes; nothing half written can be seen.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use tempfile::TempDir;

use crate::cli::{RUN, folder, stdout, tuwen};
use crate::corpus::png;
use crate::house::files;
use crate::python::python_with;

/// Captions and URLs that would be something else in a file's name, in JSON, in YAML, in HTML, in a spreadsheet or in a shell.
const HOSTILE: &str = "text,url,filename\n\
    ../../逃出去.tar,http://h/../../etc/passwd,train-0.jpg\n\
    \"{\"\"a\"\": [1]}\t<b>图</b>|`$(rm -rf .)`\",\"http://h/\"\"x'><script>\",train-4.jpg\n\
    \"=cmd|' /C calc'!A0 图文\",javascript:alert(1),train-6.jpg\n\
    \"---\nconfigs: [图]\n---\n第二行\",http://h/a%00b\\..\\c,test-2.jpg\n";

/// Every pair of a split with both of its pictures.
const EXPECTED: &str = "
    select e.example_id, e.image_id, e.split, e.text, p.text as raw_text, p.url, p.filename, p.source, p.source_line,
           i.width, i.height, i.size_px, i.codec, i.pixels, o.bytes
    from examples as e
    inner join pairs as p on p.pair_id = e.example_id
    inner join images as i on i.image_id = e.image_id
    inner join (select image_id, min(seq) as seq from originals where outcome = 'ok' group by image_id) as f
        on f.image_id = e.image_id
    inner join originals as o on o.seq = f.seq
    where e.split is not null";

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn succeed(at: &Path, args: &[&str]) -> String {
    let output = tuwen(at, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

/// What goes wrong with an export, which exits with `code`.
fn wrong(at: &Path, code: i32, args: &[&str]) -> String {
    let output = tuwen(at, &[&["export"], args].concat());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert_eq!(stdout(&output), "", "{args:?}");
    said
}

fn sample() -> TempDir {
    sample_as("raw")
}

/// The sample crawl, with rows that are hostile, its pixels stored as `codec`.
fn sample_as(codec: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample");
    for name in ["train.csv", "test.csv", "tokenizer.json"] {
        fs::copy(sample.join(name), at.join(name)).unwrap();
    }
    fs::write(at.join("train-hostile.csv"), HOSTILE).unwrap();
    let images = sample.join("images").display().to_string();
    let run = ["run", "train.csv", "test.csv", "train-hostile.csv", "--image-dir", &images];
    let codec = format!("decode.codec={codec}");
    succeed(at, &[&run[..], &["--tokenizer", "tokenizer.json", "--set", &codec]].concat());
    folder
}

/// All files below `folder`, hidden ones too, with what is in them.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let name = |file: &PathBuf| file.strip_prefix(folder).unwrap().to_owned();
    let mut all: BTreeMap<_, _> =
        files(folder).iter().map(|file| (name(file), fs::read(file).unwrap())).collect();
    if folder.join(".tuwen-export").exists() {
        all.insert(".tuwen-export".into(), Vec::new());
    }
    all
}

#[test]
fn every_row_of_every_format_is_that_of_the_corpus() {
    let Some(python) = python_with("datasets, webdataset, duckdb, PIL") else { return };
    let all = ["webdataset", "huggingface", "parquet"]
        .map(|format| [(format, "original"), (format, "decoded")]);
    for (codec, exports) in [("raw", all.as_flattened()), ("jpeg", &[("parquet", "decoded")])] {
        let folder = sample_as(codec);
        let at = folder.path();
        succeed(at, &["sql", EXPECTED, "-o", "expected.parquet"]);
        let count = "select count(*) from examples where split is not null";
        let count = succeed(at, &["sql", count, "--format", "csv"]);
        for (format, pictures) in exports {
            equals_the_corpus(at, &python, format, pictures, count.lines().nth(1).unwrap());
        }
    }
}

/// Exports the corpus of `at`, and compares all rows by the libraries that others read them with.
fn equals_the_corpus(at: &Path, python: &Path, format: &str, pictures: &str, n_rows: &str) {
    let out = format!("{format} 图 {pictures}");
    let args = ["export", "--format", format, "-o", &out, "--pictures", pictures];
    let summary = succeed(at, &[&args[..], &["--shard-rows", "20", "--json"]].concat());
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["export"]["rows_written"].to_string(), n_rows, "{summary}");
    assert!(summary["export"]["shards"].as_u64().unwrap() > 4, "{summary}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export/check.py");
    let mut check = Command::new(python);
    check.arg(&script).args([format, pictures, &out, "expected.parquet"]);
    check.env("HF_HOME", at.join("cache")).env("HF_HUB_OFFLINE", "1").current_dir(at);
    let checked = check.output().unwrap();
    assert!(checked.status.success(), "{format}, {pictures}: {}", stderr(&checked));
    let said = stdout(&checked);
    assert!(said.starts_with(&format!("{n_rows} rows")), "{said}");
    let is_mixed = said.contains("'gif', 'jpg', 'png'");
    assert!(format == "parquet" || is_mixed == (pictures == "original"), "{said}");
    // A caption is no markup of the card.
    let card = fs::read_to_string(at.join(&out).join("README.md")).unwrap();
    assert!(card.starts_with("---\n") && !card.contains("<script"), "{card}");
}

#[test]
fn columns_splits_and_conditions_choose() {
    let folder = sample();
    let at = folder.path();
    let condition = "width >= 90 and raw_text like '%圆%'";
    let args = ["export", "--format", "parquet", "-o", "some", "--where", condition];
    succeed(at, &[&args[..], &["--split", "train", "--columns", "width,text"]].concat());
    let query = "
        select count(*) as n from examples join pairs on pair_id = example_id join images using (image_id)
        where split = 'train' and width >= 90 and pairs.text like '%圆%'";
    let n = succeed(at, &["sql", query, "--format", "csv"]);
    let manifest = fs::read_to_string(at.join("some/tuwen-export.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(format!("n\n{}\n", manifest["rows"]["train"]), n);
    assert_eq!(manifest["where"], condition);
    assert_eq!(manifest["versions"]["examples"], 1, "{manifest}");
    let file = fs::File::open(at.join("some/data/train-00000-of-00001.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file);
    let reader = reader.unwrap();
    let names: Vec<&str> = reader.schema().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["image", "text", "width"]);
}

/// Begins the export of `args` into `out` and sends it `signal` once four files of it can be seen: how it ended. None where it came to
/// its end before, as it may on a busy machine.
fn cut_short(at: &Path, args: &[&str], out: &Path, signal: &str) -> Option<ExitStatus> {
    let mut export = Command::new(env!("CARGO_BIN_EXE_tuwen"));
    export.current_dir(at).args(args).stdout(Stdio::null()).stderr(Stdio::null());
    let mut export = export.spawn().unwrap();
    let n_shards = || if out.exists() { files(out).len() } else { 0 };
    while n_shards() < 4 {
        std::thread::yield_now();
        if export.try_wait().unwrap().is_some() {
            return None;
        }
    }
    let kill = Command::new("kill").args(["-s", signal, &export.id().to_string()]).status();
    assert!(kill.unwrap().success());
    let ended = export.wait().unwrap();
    // The card is the first of what is written at the end.
    (!out.join("README.md").exists()).then_some(ended)
}

#[test]
fn an_export_that_was_killed_or_stopped_ends_as_the_same_bytes() {
    let folder = sample();
    let at = folder.path();
    for (format, signal, code) in [
        ("webdataset", "KILL", None),
        ("huggingface", "KILL", None),
        ("parquet", "TERM", Some(130)),
    ] {
        let (whole, killed) = (format!("{format}-whole"), format!("{format}-killed"));
        let args = ["export", "--format", format, "--pictures", "decoded", "--shard-rows", "1"];
        succeed(at, &[&args[..], &["--threads", "3", "-o", &whole]].concat());
        let out = at.join(&killed);
        let slowly = [&args[..], &["--threads", "1", "-o", &killed]].concat();
        let ended = (0..10).find_map(|_| {
            if out.exists() {
                fs::remove_dir_all(&out).unwrap();
            }
            cut_short(at, &slowly, &out, signal)
        });
        assert_eq!(ended.expect("it ended before it could be killed").code(), code);
        assert!(!out.join("tuwen-export.json").exists() && !out.join("README.md").exists());
        let whole = content(&at.join(&whole));
        // What can be seen is whole.
        for file in files(&out) {
            assert!(fs::read(&file).unwrap() == whole[file.strip_prefix(&out).unwrap()]);
        }
        // A night later the versions are those that it was begun with.
        let night = format!("text,url,filename\n新的红圆{format},,train-7.jpg\n");
        fs::write(at.join("night.csv"), night).unwrap();
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample/images");
        let run = ["run", "night.csv", "--tokenizer", "tokenizer.json", "--force", "--image-dir"];
        succeed(at, &[&run[..], &[images.to_str().unwrap()]].concat());
        let other = wrong(at, 1, &["--format", format, "-o", &killed]);
        assert!(other.contains("it holds another export: its `pictures` is"), "{other}");
        let resumed = succeed(at, &[&args[..], &["-o", &killed]].concat());
        assert!(resumed.contains(" shards, "), "{resumed}");
        assert!(content(&out) == whole, "{format}: a resumed export differs");
    }
}

#[test]
fn a_whole_export_is_left_alone_mended_or_refused() {
    let folder = folder();
    let at = folder.path();
    succeed(at, &RUN);
    let export = ["--format", "webdataset", "-o", "out"];
    let args = [&["export"], &export[..]].concat();
    succeed(at, &args);
    let before = content(&at.join("out"));
    assert!(!before.contains_key(Path::new(".tuwen-export")));
    assert!(succeed(at, &args).contains("nothing to do: out holds version 1 of examples"));
    let other = wrong(at, 1, &[&export[..], &["--where", "width > 1"]].concat());
    let expected =
        "-o out: it holds another export: its `where` is null, asked for is \"width > 1\"";
    assert!(other.contains(expected) && other.contains("hint: another folder"), "{other}");
    assert!(content(&at.join("out")) == before);
    // A shard that is lost is made anew.
    fs::remove_file(at.join("out/train/00000.tar")).unwrap();
    assert!(succeed(at, &args).contains("1 of 2 shards, 1 pictures"));
    assert!(content(&at.join("out")) == before);

    let csv = "text,url,filename\n红圆,,train-0.jpg\n圆红,,test-0.jpg\n红红圆,,train-0.jpg\n";
    fs::write(at.join("crawl.csv"), csv).unwrap();
    succeed(at, &RUN);
    let newer = wrong(at, 1, &export);
    assert!(newer.contains("it holds version 1 of pairs, which is at version 2 now"), "{newer}");

    fs::create_dir(at.join("mine")).unwrap();
    fs::write(at.join("mine/notes.txt"), "").unwrap();
    let mine = wrong(at, 1, &["--format", "parquet", "-o", "mine"]);
    let expected = "-o mine: expected an export or an empty folder, found notes.txt in it";
    assert!(mine.contains(expected), "{mine}");
}

#[test]
fn a_resumed_export_is_of_the_tables_and_the_functions_that_it_was_begun_with() {
    let folder = folder();
    let at = folder.path();
    succeed(at, &RUN);
    // As a corpus is that was made before there were scores.
    fs::rename(at.join("corpus/scores"), at.join("later")).unwrap();
    let condition = "n_chars(clean_caption(raw_text)) > 0 and loss is null";
    let args = |out| ["export", "--format", "parquet", "--where", condition, "-o", out];
    succeed(at, &args("whole"));
    fs::create_dir_all(at.join("begun/.tuwen-export")).unwrap();
    fs::copy(at.join("whole/tuwen-export.json"), at.join("begun/.tuwen-export/plan.json")).unwrap();
    fs::rename(at.join("later"), at.join("corpus/scores")).unwrap();

    let rules = [&args("begun")[1..], &["--set", "curate.clean=tags"]].concat();
    let other = wrong(at, 1, &rules);
    assert!(other.contains("its `functions` is {\"clean_caption\":"), "{other}");
    succeed(at, &args("begun"));
    assert!(content(&at.join("begun")) == content(&at.join("whole")));
}

#[test]
fn what_is_wrong_is_said_before_anything_is_written() {
    let folder = folder();
    let at = folder.path();
    succeed(at, &RUN);
    for (code, args, expected) in [
        (
            1,
            &["--where", "widht > 3"][..],
            "column `widht` does not exist\nLINE 1: widht > 3\n        ^",
        ),
        (1, &["--where", "widht > 3"], "did you mean `width`?"),
        (1, &["--where", "width >"], "syntax error"),
        (1, &["--where", "width > 3 limit 1"], "limit"),
        (1, &["--where", "true) or (true"], "syntax error"),
        (1, &["--where", "text"], "text"),
        (1, &["--where", "random() < 0.5"], "must be the same whenever it is made"),
        (1, &["--where", "a = 1; b = 2"], "expected one condition, found 2"),
        (1, &["--where", ""], "expected one condition, found 0"),
        (
            1,
            &["--where", "width < 0"],
            "nothing is selected: no example of train, validation, test has width < 0",
        ),
        (1, &["--split", "validation"], "nothing is selected: no example of validation\nhint: "),
        (2, &["--split", "dev"], "expected train, validation or test, found `dev`"),
        (2, &["--columns", "txt"], "expected some of example_id, "),
        (2, &["--shard-rows", "0"], "0 is not in 1..=1000000"),
        (2, &["-o", "s3://bucket/out"], "expected a folder of this machine\nhint: "),
    ] {
        let out = if args[0] == "-o" { &[][..] } else { &["-o", "out"] };
        let said = wrong(at, code, &[&["--format", "parquet"], args, out].concat());
        assert!(said.contains(expected), "{args:?}: {said}");
        assert!(!at.join("out").exists(), "{args:?}");
    }
    let said = wrong(at, 2, &["--format", "webdataset", "-o", "out", "--columns", "text"]);
    assert!(said.contains("--columns: expected --format parquet or huggingface"), "{said}");
}

#[test]
fn a_disk_that_takes_no_more_is_one_error_and_the_next_run_does_the_rest() {
    let folder = sample();
    let at = folder.path();
    // No file may have more than 64 kB.
    let export = |limit: &str, out: &str| {
        let line = format!(
            "{limit} exec {} export --format webdataset --pictures decoded --shard-rows 9 -o {out}",
            env!("CARGO_BIN_EXE_tuwen")
        );
        Command::new("bash").args(["-c", &line]).current_dir(at).output().unwrap()
    };
    let full = export("trap '' XFSZ; ulimit -f 64;", "out");
    let said = stderr(&full);
    assert_eq!(full.status.code(), Some(1), "{said}");
    assert!(said.contains("error: ") && said.contains(".tar"), "{said}");
    assert_eq!(said.matches("File too large").count(), 1, "{said}");
    for file in files(&at.join("out")) {
        assert!(file.metadata().unwrap().len() <= 64 << 10, "{}", file.display());
    }
    // Nothing half written takes room.
    let left = fs::read_dir(at.join("out/.tuwen-export")).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["lock", "plan.json"]);
    let rest = export("", "out");
    assert_eq!(rest.status.code(), Some(0), "{}", stderr(&rest));
    assert_eq!(export("", "undisturbed").status.code(), Some(0));
    assert!(content(&at.join("out")) == content(&at.join("undisturbed")));
}

/// The file of `originals` that holds `bytes`, and where.
fn original(at: &Path, bytes: &[u8]) -> (PathBuf, usize) {
    let holds = |file: PathBuf| {
        let text = fs::read(&file).unwrap();
        let place = text.windows(bytes.len()).position(|some| some == bytes)?;
        Some((file, place))
    };
    files(&at.join("corpus/originals")).into_iter().find_map(holds).unwrap()
}

#[test]
fn a_damaged_picture_is_named_and_a_lost_one_is_left_out_aloud() {
    let folder = folder();
    let at = folder.path();
    succeed(at, &RUN);
    fs::write(at.join("pictures/train-1.jpg"), png(90)).unwrap();
    let csv = "text,url,filename\n红圆,,train-0.jpg\n圆红,,test-0.jpg\n红红圆,,train-1.jpg\n";
    fs::write(at.join("crawl.csv"), csv).unwrap();
    succeed(at, &RUN);

    let (file, place) = original(at, &png(90));
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    damaged[place + 20] ^= 1;
    fs::write(&file, damaged).unwrap();
    let said = wrong(at, 1, &["--format", "parquet", "-o", "out"]);
    assert!(said.contains("table `originals`, file ") && said.contains(": image "), "{said}");
    assert!(
        said.contains("its file's SHA-256 is") && said.contains("hint: tuwen repair"),
        "{said}"
    );
    fs::write(&file, whole).unwrap();
    succeed(at, &["export", "--format", "parquet", "-o", "out"]);

    fs::remove_file(&file).unwrap();
    succeed(at, &["repair"]);
    let args = ["export", "--format", "huggingface", "-o", "lost"];
    let lost = tuwen(at, &args);
    let said = stderr(&lost);
    assert!(said.contains("1 pairs are left out: their picture files are lost"), "{said}");
    let manifest = fs::read_to_string(at.join("lost/tuwen-export.json")).unwrap();
    assert!(manifest.contains("\"without_picture\": 1"), "{manifest}");
    let args = ["export", "--format", "huggingface", "-o", "squares", "--pictures", "decoded"];
    assert!(succeed(at, &args).contains(", 3 pictures, "));
}
