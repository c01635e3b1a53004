//! `tuwen score` on a small corpus: losses as transformers has them, everything once, nothing twice, nothing in silence, and a
//! training that uses them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::Corpus;
use tuwen_corpus::maintenance::{Depth, VacuumOptions, history, vacuum, verify};
use tuwen_corpus::report::{Outcome, StageReport};
use tuwen_etl::driver::StageFailed;
use tuwen_settings::{Settings, TrainSettings};
use tuwen_stream::{Stream, StreamOptions};
use tuwen_trainer::caption_stage::{ByModel, Portions};
use tuwen_trainer::checkpoint::write_model;
use tuwen_trainer::score_rows::{Losses, ScoreBatch};
use tuwen_trainer::score_stage::{ScoreRequest, Wanted, score_examples};

use crate::caption_corpus::{old_corpus, rows};
use crate::equality::random_model;
use crate::python;
use crate::run::{json, train, tuwen};

/// Examples of the sample: 60 of train, 11 of test on 9 pictures.
const N_TRAIN: u64 = 60;
const N_TEST: u64 = 11;

/// Side of its pictures.
const SIDE_PX: i64 = 48;

/// Writes a random model that sees the sample's pictures as they are.
fn write_random_model(folder: &Path, seed: i64) {
    let model = random_model(seed, |config| config.encoder.image_size = SIDE_PX);
    fs::create_dir_all(folder).unwrap();
    write_model(folder, &model, &TrainSettings::default()).unwrap();
}

fn score(corpus: &str, model: &Path, more: &[&str]) -> Output {
    tuwen(&["score", "--json", "--device", "cpu", "--corpus", corpus, "--model"])
        .arg(model)
        .args(["--set", "train.threads=1", "--set", "train.score_chunk=32"])
        .args(["--set", "train.eval_batch_size=7"])
        .args(more)
        .output()
        .unwrap()
}

fn stage(output: &Output) -> Value {
    json(output)["stages"][0].clone()
}

#[test]
fn losses_are_those_of_transformers_and_come_once() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let model = folder.path().join("model");
    write_random_model(&model, 11);
    assert_eq!(rows(&corpus, "select count(*) from scores"), ["0"]);

    let first = stage(&score(&corpus, &model, &[]));
    assert_eq!((&first["rows_out"], &first["commits"]), (&N_TRAIN.into(), &2.into()), "{first}");
    let all = "select example_id from examples where split is not null";
    let rest = stage(&score(&corpus, &model, &["--from-sql", all]));
    assert_eq!((&rest["rows_out"], &rest["known"]), (&N_TEST.into(), &N_TRAIN.into()), "{rest}");
    let again = stage(&score(&corpus, &model, &["--split", "train"]));
    assert_eq!((&again["known"], &again["commits"]), (&N_TRAIN.into(), &0.into()), "{again}");

    let scored = rows(
        &corpus,
        "select input_ids, pixels, loss, loss_without_image, s.n_tokens = e.n_tokens, s.image_id
         from scores s join examples e using (example_id) join images i on i.image_id = e.image_id",
    );
    assert_eq!(scored.len() as u64, N_TRAIN + N_TEST);
    let lines = scored.iter().map(|row| {
        let (ids, rest) = row.split_once("],").unwrap();
        let [pixels, loss, without, all_tokens, image_id] = rest.split(',').collect::<Vec<_>>()[..] else {
            panic!("{rest}")
        };
        assert_eq!(all_tokens, "true");
        let number = |text: &str| text.parse::<f64>().unwrap();
        let ids: Value = serde_json::from_str(&format!("{ids}]")).unwrap();
        let line = json!({
            "input_ids": ids, "pixels": pixels, "loss": number(loss), "loss_without_image": number(without),
            "image_id": image_id,
        });
        line.to_string()
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    fs::write(folder.path().join("scored.jsonl"), lines).unwrap();
    python::check("score_losses.py", &[folder.path().as_os_str()]);

    // Whoever keeps the corpus knows the table.
    Runtime::new().unwrap().block_on(async {
        let corpus = Corpus::open(&corpus).await.unwrap();
        let verified = verify(&corpus, Depth::Pages).await.unwrap();
        let table = verified.tables.iter().find(|table| table.table == "scores").unwrap();
        assert!(verified.whole && table.rows == N_TRAIN + N_TEST, "{verified:?}");
        let options = VacuumOptions {
            older_than: std::time::Duration::ZERO,
            pins: Vec::new(),
            dry_run: true,
        };
        let vacuumed = vacuum(&corpus, &options, &CancellationToken::new()).await.unwrap();
        assert!(vacuumed.tables.contains_key("scores"));
        let runs = history(&corpus.snapshot().await.unwrap(), 10, false).await.unwrap();
        assert_eq!(runs.iter().filter(|run| run.stage == "score").count(), 2, "{runs:?}");
    });
}

#[test]
fn captions_are_cut_as_training_cuts_them_and_other_settings_are_other_scores() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let model = folder.path().join("model");
    write_random_model(&model, 12);
    let test = ["--split", "test"];
    let cut = ["--split", "test", "--set", "train.max_length=5"];
    for (more, expected) in [(&test[..], N_TEST), (&cut[..], N_TEST), (&cut[..], 0)] {
        assert_eq!(stage(&score(&corpus, &model, more))["rows_out"], expected);
    }
    let by_settings = "select settings like '%\"max_length\":5%', max(n_tokens) > 5 from scores group by 1 order by 1";
    assert_eq!(rows(&corpus, by_settings), ["false,true", "true,false"]);
}

#[test]
fn what_is_not_scored_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let model = folder.path().join("model");
    write_random_model(&model, 13);
    let none = "select cast(null as varchar) as example_id union all select null union all select '00000000000000000000000000000000'";
    let output = score(&corpus, &model, &["--from-sql", none]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stage = &report["stages"][0];
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stage["rejected"], json!({"no_example_id": 2, "unknown_example": 1}));
    assert_eq!((&stage["rows_in"], &stage["commits"]), (&3.into(), &0.into()));
    for (more, expected) in [
        (["--from-sql", "select text from examples"], "expected a column `example_id`, found text"),
        (["--from-sql", "delete from examples"], "the query of examples"),
        (["--where", "widht > 3"], "predicate `widht > 3`"),
        (["--where", "random() > 0.5"], "this one is random"),
    ] {
        let output = score(&corpus, &model, &more);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

/// Runs the stage with a model whose losses tell the example; `measure` may refuse a batch, or cancel the token.
fn score_by_id(
    corpus: &str,
    model_id: &str,
    mut measure: impl FnMut(&ScoreBatch, &CancellationToken) -> Result<()>,
) -> Result<StageReport> {
    let [model, settings] = ["model", "{}"].map(str::to_owned);
    let author = ByModel { model, model_id: model_id.to_owned(), settings };
    let wanted = Wanted::Split { split: "train".to_owned(), predicate: None };
    let portions = Portions { batch: 5, chunk: 8 };
    let (stop, settings) = (CancellationToken::new(), Settings::default());
    let mut measure = |batch: &ScoreBatch| {
        let side = SIDE_PX as usize;
        assert_eq!(batch.pixels.len(), batch.n_images() * side * side * 3);
        measure(batch, &stop)?;
        let losses = batch.example_ids.iter().zip(&batch.input_ids).map(|(id, tokens)| {
            let with_image = loss_of(model_id, id);
            Losses { with_image, without_image: 1.0, n_tokens: tokens.len() as i32 }
        });
        Ok(losses.collect())
    };
    Runtime::new().unwrap().block_on(async {
        let corpus = Corpus::open(corpus).await?;
        let request = ScoreRequest { wanted, author };
        score_examples(&corpus, request, &settings, portions, &mut measure, &stop).await
    })
}

/// A number from 0 to 1 that an example's id decides; of another model than `m` the opposite, of `spoilt` none below a quarter, of
/// `broken` none.
fn loss_of(model_id: &str, example_id: &str) -> f32 {
    let loss = f32::from(u8::from_str_radix(&example_id[..2], 16).unwrap()) / 256.0;
    match model_id {
        "m" => loss,
        "spoilt" if loss < 0.25 => f32::NAN,
        "broken" => f32::NAN,
        _ => 1.0 - loss,
    }
}

const WRITTEN: &str = "select count(*), count(distinct example_id) from scores";

#[test]
fn a_run_that_fails_loses_at_most_a_chunk_and_the_next_does_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let mut n_batches = 0;
    // Chunks of 8 are batches of 5 and 3: the third chunk breaks off in its second batch.
    let failed = score_by_id(&corpus, "m", |_, _| {
        n_batches += 1;
        if n_batches == 6 { bail!("out of memory") } else { Ok(()) }
    });
    let error = failed.unwrap_err();
    assert_eq!(error.downcast_ref::<StageFailed>().unwrap().report.rows_out, 16, "{error:#}");
    let report = score_by_id(&corpus, "m", |_, _| Ok(())).unwrap();
    assert_eq!((report.known, report.rows_in, report.rows_out), (16, 44, 44));
    assert_eq!(rows(&corpus, WRITTEN), ["60,60"]);
    let runs = "select outcome, rows_out from runs where stage = 'score' order by started";
    assert_eq!(rows(&corpus, runs), ["failed,16", "ok,44"]);
    let report = score_by_id(&corpus, "m", |_, _| bail!("nothing is to do")).unwrap();
    assert_eq!((report.known, report.commits), (60, 0));
}

#[test]
fn a_loss_that_is_no_number_is_a_rejected_row() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let train = rows(&corpus, "select example_id from examples where split = 'train'");
    let n_spoilt = train.iter().filter(|id| loss_of("spoilt", id).is_nan()).count() as u64;
    assert!(n_spoilt > 0);
    let report = score_by_id(&corpus, "spoilt", |_, _| Ok(())).unwrap();
    assert_eq!(report.rejected, [("loss_not_finite".to_owned(), n_spoilt)].into());
    assert_eq!((report.rows_in, report.rows_out), (N_TRAIN, N_TRAIN - n_spoilt));
    // Of a model that has none, one chunk is enough.
    let mut n_batches = 0;
    let broken = score_by_id(&corpus, "broken", |_, _| {
        n_batches += 1;
        Ok(())
    });
    let error = format!("{:#}", broken.unwrap_err());
    assert!(error.contains("found none of 8 examples") && n_batches == 2, "{error}");
}

#[test]
fn a_run_that_is_stopped_commits_what_is_scored() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let mut n_batches = 0;
    let report = score_by_id(&corpus, "m", |_, stop| {
        n_batches += 1;
        if n_batches == 3 {
            stop.cancel();
        }
        Ok(())
    });
    let report = report.unwrap();
    assert_eq!((report.outcome, report.rows_out), (Outcome::Interrupted, 13));
    assert_eq!(rows(&corpus, WRITTEN), ["13,13"]);
}

#[test]
fn what_another_run_scores_meanwhile_is_not_scored_again() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let mut other = None;
    let report = score_by_id(&corpus, "m", |_, _| {
        if other.is_none() {
            // From another process, as far as this run can tell.
            let corpus = corpus.clone();
            let run = std::thread::spawn(move || score_by_id(&corpus, "m", |_, _| Ok(())));
            other = Some(run.join().unwrap()?);
        }
        Ok(())
    });
    let (report, other) = (report.unwrap(), other.unwrap());
    assert_eq!((other.rows_out, report.rows_out), (60, 0));
    assert_eq!((report.known, report.rows_in), (60, 60));
    assert_eq!(rows(&corpus, WRITTEN), ["60,60"]);
}

/// Flips a bit of an image's pixels on disk, below the table.
fn damage(corpus: &str, image_id: &str) {
    let pixels = rows(corpus, &format!("select pixels from images where image_id = '{image_id}'"));
    let hex = pixels[0].as_bytes().chunks(2);
    let pixels: Vec<u8> =
        hex.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect();
    let folder = Path::new(corpus).join("images");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|file| file.extension().is_some_and(|end| end == "parquet")) {
        let mut bytes = fs::read(&file).unwrap();
        if let Some(at) = bytes.windows(pixels.len()).position(|window| window == pixels) {
            bytes[at + 7] ^= 1;
            fs::write(&file, bytes).unwrap();
            return;
        }
    }
    panic!("no file has the pixels of {image_id}");
}

#[test]
fn examples_of_a_damaged_image_are_named_and_the_others_scored() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let model = folder.path().join("model");
    write_random_model(&model, 14);
    // The picture with three captions.
    let several =
        "select image_id from examples where split = 'test' group by image_id having count(*) = 3";
    let image = rows(&corpus, several).remove(0);
    damage(&corpus, &image);
    let allow = ["--split", "test", "--set", "max_rejected_percent=100"];
    let output = score(&corpus, &model, &allow);
    let report = stage(&output);
    assert_eq!(report["rejected"], json!({"unreadable_pixels": 3}), "{report}");
    assert_eq!(report["rows_out"], N_TEST - 3);
    let said = String::from_utf8(output.stderr).unwrap();
    let ids = rows(&corpus, &format!("select example_id from examples where image_id = '{image}'"));
    assert!(ids.iter().all(|id| said.contains(&format!("example {id}: image {image}"))), "{said}");
}

/// Ids of an epoch of the examples that `predicate` selects.
fn selected(corpus: &str, options: StreamOptions) -> (Stream, BTreeSet<String>) {
    let stream = Stream::open(corpus, options).unwrap();
    let batches = stream.epoch(0, 0).unwrap().map(Result::unwrap);
    let ids = batches.flat_map(|batch| batch.example_ids).map(|id| id.to_string()).collect();
    (stream, ids)
}

#[test]
fn training_leaves_out_what_the_scores_say_and_a_resumed_run_reads_the_same_ones() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = old_corpus(folder.path());
    let gainful = StreamOptions {
        predicate: Some("gain > 0.25 or text = 'no such caption'".to_owned()),
        ..StreamOptions::default()
    };
    let error = format!("{:#}", Stream::open(&corpus, gainful.clone()).err().unwrap());
    assert!(error.contains("it speaks of scores, and the corpus has none"), "{error}");
    assert!(error.contains("hint: `tuwen score` makes them"), "{error}");

    score_by_id(&corpus, "m", |_, _| Ok(())).unwrap();
    let ids = |condition: &str| -> BTreeSet<String> {
        let query =
            format!("select example_id from examples where split = 'train' and {condition}");
        rows(&corpus, &query).into_iter().collect()
    };
    let expected: BTreeSet<String> =
        ids("true").into_iter().filter(|id| 1.0 - loss_of("m", id) > 0.25).collect();
    assert!(expected.len() > 20 && expected.len() < N_TRAIN as usize, "{}", expected.len());
    let (stream, found) = selected(&corpus, gainful.clone());
    assert_eq!(found, expected);
    assert_eq!(stream.versions().scores, Some(8));
    let (others, found) = selected(
        &corpus,
        StreamOptions { predicate: Some("n_tokens > 0".to_owned()), ..StreamOptions::default() },
    );
    assert_eq!((found, others.versions().scores), (ids("true"), None));

    // A newer score counts, but not for who has begun with the older ones.
    let half = || -> Result<StageReport> {
        let mut n_batches = 0;
        score_by_id(&corpus, "m2", |_, stop| {
            n_batches += 1;
            if n_batches == 4 {
                stop.cancel();
            }
            Ok(())
        })
    };
    let out = folder.path().join("model");
    let args = ["--where", "gain > 0.25", "--set", "train.eval_captions=0", "--set"];
    let at = format!("corpus={corpus}");
    let run = |steps: &str, more: &[&str]| {
        let args = [&args[..], &[&at, "--steps", steps], more].concat();
        train(&out, &args).output().unwrap()
    };
    let begun = run("2", &[]);
    assert_eq!(json(&begun)["steps"], 2);
    let said = String::from_utf8(begun.stderr).unwrap();
    assert!(said.contains(&format!(" {} training and", expected.len())), "{said}");
    assert_eq!(half().unwrap().rows_out, 16);
    assert_ne!(selected(&corpus, gainful.clone()).1, expected);
    let pinned = StreamOptions { versions: Some(stream.versions()), ..gainful };
    assert_eq!(selected(&corpus, pinned).1, expected);
    let resumed = run("3", &["--resume", "auto"]);
    assert_eq!(json(&resumed)["steps"], 3);
    let state = fs::read_to_string(out.join("checkpoint-3/trainer_state.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["stream"]["versions"]["scores"], 8, "{state}");
}
