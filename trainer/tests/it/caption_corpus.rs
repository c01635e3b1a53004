//! `tuwen caption --from-sql` on a small corpus: everything once, nothing twice, nothing in silence.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Result, bail};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::Corpus;
use tuwen_corpus::report::{Outcome, StageReport};
use tuwen_etl::driver::StageFailed;
use tuwen_etl::sql;
use tuwen_settings::Settings;
use tuwen_trainer::caption_stage::{
    ByModel, Caption, CaptionRequest, ImageBatch, Portions, caption_images,
};

use crate::run::{OTHER_CAPTIONS, json, sample, train, tuwen};

const N_IMAGES: u64 = 69;
const ALL: &str = "select image_id from images";

/// A copy of the sample's corpus as it was before there were tables `captions` and `scores`.
pub(crate) fn old_corpus(folder: &Path) -> String {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => copy(&entry.path(), &to.join(entry.file_name())),
                false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
            }
        }
    }
    let corpus = folder.join("corpus");
    copy(&sample().join("corpus"), &corpus);
    for table in ["captions", "scores"] {
        fs::remove_dir_all(corpus.join(table)).unwrap();
    }
    corpus.display().to_string()
}

/// Rows of a query, cells parted by commas.
pub(crate) fn rows(corpus: &str, query: &str) -> Vec<String> {
    let batches = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(async {
            let corpus = Corpus::open(corpus).await?;
            let ctx = sql::session(&corpus.snapshot().await?, &Settings::default()).await?;
            anyhow::Ok(ctx.sql(query).await?.collect().await?)
        })
        .unwrap();
    let mut rows = Vec::new();
    for batch in &batches {
        let columns = batch.columns().iter();
        let columns: Vec<_> = columns
            .map(|column| ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap())
            .collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            let cells = columns.iter().map(|column| column.value(row).to_string());
            cells.collect::<Vec<_>>().join(",")
        }));
    }
    rows
}

#[test]
fn a_corpus_is_captioned_once() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let model = folder.path().join("model");
    json(&train(&model, &["--steps", "12", "--set", "train.eval_captions=0"]).output().unwrap());
    let caption = |query: &str, more: &[&str]| -> Output {
        tuwen(&["caption", "--json", "--corpus", &corpus, "--from-sql", query, "--model"])
            .arg(&model)
            .args(["--set", "train.caption_chunk=16", "--set", "train.eval_batch_size=10"])
            .args(more)
            .output()
            .unwrap()
    };
    let stage = |output: &Output| json(output)["stages"][0].clone();
    assert_eq!(rows(&corpus, "select count(*) from captions"), ["0"]);

    let first = stage(&caption(ALL, &[]));
    assert_eq!((&first["rows_out"], &first["known"]), (&N_IMAGES.into(), &0.into()), "{first}");
    assert_eq!(first["commits"], N_IMAGES.div_ceil(16));
    let second = stage(&caption(ALL, &[]));
    assert_eq!((&second["known"], &second["commits"]), (&N_IMAGES.into(), &0.into()), "{second}");

    // Other settings are other captions; a join with both image_ids does as well.
    let test = "select * from examples join images on examples.image_id = images.image_id where split = 'test'";
    let greedy = stage(&caption(test, &["--num-beams", "1"]));
    assert_eq!(greedy["rows_out"], 9, "{greedy}");
    assert_eq!(
        rows(
            &corpus,
            "select count(*), count(distinct image_id), count(distinct settings), count(distinct model_id) from captions"
        ),
        ["78,69,2,1"]
    );
    assert_eq!(
        rows(
            &corpus,
            "select rows_in, rows_out, map_keys(versions_written) from runs where stage = 'caption' order by started"
        ),
        ["69,69,[captions]", "9,9,[captions]"]
    );

    // The same caption as of the file, and beside the human one.
    let from_file = tuwen(&["caption", "images/test-1.bmp", "--set", "decode.size=48", "--model"])
        .arg(&model)
        .output()
        .unwrap();
    let of_test_1 = "select caption from captions join examples using (image_id) join pairs on example_id = pair_id \
                     where filename = 'test-1.bmp' and settings like '%\"num_beams\":4%'";
    assert_eq!(
        rows(&corpus, of_test_1).join("\n") + "\n",
        String::from_utf8(from_file.stdout).unwrap()
    );
    let beside = include_str!("../../../sql/queries/beside_human_captions.sql");
    // A row for each human caption beside each of the model's: the first test picture has more of both.
    assert_eq!(rows(&corpus, beside).len(), 78 + 2 * OTHER_CAPTIONS.len());
}

#[test]
fn what_is_not_captioned_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let model = folder.path().join("model");
    json(&train(&model, &["--steps", "1", "--set", "train.eval_captions=0"]).output().unwrap());
    let caption_of = |corpus: &str, query: &str, more: &[&str]| {
        let output =
            tuwen(&["caption", "--json", "--corpus", corpus, "--from-sql", query, "--model"])
                .arg(&model)
                .args(more)
                .output()
                .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout), text)
    };
    let caption = |query: &str| caption_of(&corpus, query, &[]);
    let none = "select cast(null as varchar) as image_id union all select null union all select '00000000000000000000000000000000'";
    let (code, report, message) = caption(none);
    let stage = &report.unwrap()["stages"][0];
    assert_eq!((code, &stage["outcome"]), (Some(3), &"gate".into()));
    let expected = "error: max_rejected_percent: expected at most 50 % of 3 images asked for rejected, found 100.0 %";
    assert!(message.contains(expected), "{message}");
    let last = "select outcome from runs where stage = 'caption' order by started desc limit 1";
    assert_eq!(rows(&corpus, last), ["gate"]);
    assert_eq!(caption_of(&corpus, none, &["--force"]).0, Some(0));
    // What fails before the stage begins is an object too.
    let (code, report, message) = caption_of("nowhere", ALL, &["--log", "json"]);
    let stage = report.unwrap()["stages"][0].clone();
    assert_eq!(
        (code, &stage["stage"], &stage["outcome"]),
        (Some(1), &"caption".into(), &"failed".into())
    );
    let last: Value = serde_json::from_str(message.lines().last().unwrap()).unwrap();
    assert!(last["message"].as_str().unwrap().contains("nowhere"), "{message}");
    let (_, report, _) = caption(none);
    let stage = &report.unwrap()["stages"][0];
    assert_eq!(stage["rejected"], serde_json::json!({"no_image_id": 2, "unknown_image": 1}));
    assert_eq!((&stage["rows_in"], &stage["commits"]), (&3.into(), &0.into()));
    for (query, expected) in [
        ("select width, height from images", "expected a column `image_id`, found width, height"),
        ("delete from images", "the query of images"),
        ("select nothing from images", "nothing"),
    ] {
        let (code, _, message) = caption(query);
        assert_eq!(code, Some(1), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

/// Runs the stage with a model that writes an image's id; `write` may refuse a batch, or cancel the token.
fn caption_ids(
    corpus: &str,
    mut write: impl FnMut(&CancellationToken) -> Result<()>,
) -> Result<StageReport> {
    let [model, model_id, settings] = ["model", "m", "{}"].map(str::to_owned);
    let author = ByModel { model, model_id, settings };
    let request = CaptionRequest { query: ALL.to_owned(), author };
    let portions = Portions { batch: 5, chunk: 8 };
    let (stop, settings) = (CancellationToken::new(), Settings::default());
    let mut write = |batch: &ImageBatch| {
        assert_eq!(batch.pixels.len(), batch.image_ids.len() * 48 * 48 * 3);
        write(&stop)?;
        let caption = |id: &String| Caption { text: id.clone(), score: -1.0 };
        Ok(batch.image_ids.iter().map(caption).collect())
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let corpus = Corpus::open(corpus).await?;
        caption_images(&corpus, request, &settings, portions, &mut write, &stop).await
    })
}

const WRITTEN: &str = "select count(*), count(distinct image_id), count(*) filter (where caption = image_id) from captions";

#[test]
fn a_run_that_fails_loses_at_most_a_chunk_and_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let mut n_batches = 0;
    // Chunks of 8 are batches of 5 and 3: the third chunk breaks off in its second batch.
    let failed = caption_ids(&corpus, |_| {
        n_batches += 1;
        if n_batches == 6 { bail!("out of memory") } else { Ok(()) }
    });
    let error = failed.unwrap_err();
    assert_eq!(error.downcast_ref::<StageFailed>().unwrap().report.rows_out, 16, "{error:#}");
    let report = caption_ids(&corpus, |_| Ok(())).unwrap();
    assert_eq!((report.known, report.rows_in, report.rows_out), (16, 53, 53));
    assert_eq!(rows(&corpus, WRITTEN), ["69,69,69"]);
    let runs = "select outcome, rows_out from runs where stage = 'caption' order by started";
    assert_eq!(rows(&corpus, runs), ["failed,16", "ok,53"]);
}

#[test]
fn a_run_that_is_stopped_commits_what_is_captioned() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let mut n_batches = 0;
    let report = caption_ids(&corpus, |stop| {
        n_batches += 1;
        if n_batches == 3 {
            stop.cancel();
        }
        Ok(())
    });
    let report = report.unwrap();
    assert_eq!((report.outcome, report.rows_out), (Outcome::Interrupted, 13));
    assert_eq!(rows(&corpus, WRITTEN), ["13,13,13"]);
}

#[test]
fn what_another_run_captions_meanwhile_is_not_captioned_again() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let mut other = None;
    let report = caption_ids(&corpus, |_| {
        if other.is_none() {
            // From another process, as far as this run can tell.
            let corpus = corpus.clone();
            let run = std::thread::spawn(move || caption_ids(&corpus, |_| Ok(())));
            other = Some(run.join().unwrap()?);
        }
        Ok(())
    });
    let (report, other) = (report.unwrap(), other.unwrap());
    assert_eq!((other.rows_out, report.rows_out), (69, 0));
    // The 8 of its chunk were lost to the other, the 61 after it were not begun.
    assert_eq!((report.known, report.rows_in), (69, 69));
    assert_eq!(rows(&corpus, WRITTEN), ["69,69,69"]);
}
