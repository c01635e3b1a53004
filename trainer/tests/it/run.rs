//! Whole runs on a small corpus that the pipeline makes here: train, stop, resume, evaluate, caption.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::Corpus;
use tuwen_etl::curate::Gates;
use tuwen_etl::fetch::{Origin, fetch};
use tuwen_etl::ingest::{Sources, ingest};
use tuwen_settings::{CurateSettings, DecodeSettings, FetchSettings, IngestSettings, Settings};

use crate::python;

const N_PICTURES: usize = 60;

/// Colours a model of this size tells apart in a few steps.
const COLOURS: [(&str, [u8; 3]); 3] =
    [("红色", [220, 30, 30]), ("绿色", [30, 180, 60]), ("蓝色", [30, 60, 220])];

pub(crate) const OTHER_CAPTIONS: [&str; 2] = ["一个红色的正方形", "中间 红色 AB"];

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A folder with a corpus and the picture files it was made from; made once.
pub(crate) fn sample() -> &'static Path {
    static SAMPLE: OnceLock<tempfile::TempDir> = OnceLock::new();
    SAMPLE.get_or_init(|| make_sample().unwrap()).path()
}

fn make_sample() -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let images = folder.path().join("images");
    fs::create_dir(&images)?;
    for split in ["train", "test"] {
        let mut csv = String::from("text,url,filename\n");
        for i in 0..if split == "train" { N_PICTURES } else { 9 } {
            let (name, rgb) = COLOURS[i % COLOURS.len()];
            // Pictures of one colour would be near-identical to the pipeline: stripes of a random width tell them apart.
            fs::write(
                images.join(format!("{split}-{i}.bmp")),
                striped_bmp(rgb, i * 2 + usize::from(split == "test")),
            )?;
            csv += &format!("中间有一个{name}的方形,,{split}-{i}.bmp\n");
        }
        if split == "test" {
            // Other references of the first picture; the model is never trained on them.
            csv += OTHER_CAPTIONS.map(|text| format!("{text},,test-0.bmp\n")).concat().as_str();
        }
        fs::write(folder.path().join(format!("{split}.csv")), csv)?;
    }
    let files = ["train.csv", "test.csv"].map(|name| folder.path().join(name));
    let tokenizer = here("tests/it/tokenizer.json").display().to_string();
    tokio::runtime::Runtime::new()?.block_on(async {
        let corpus =
            Corpus::open_or_create(&folder.path().join("corpus").display().to_string()).await?;
        let stop = CancellationToken::new();
        let sources = Sources::open(&files, &IngestSettings::default(), 50.0)?;
        ingest(&corpus, &sources, &stop).await?;
        fetch(&corpus, Origin::Folder(images), &FetchSettings::default(), None, &stop).await?;
        let settings = DecodeSettings { size: 48, ..DecodeSettings::default() };
        tuwen_etl::decode::decode(&corpus, &settings, &[], None, &stop).await?;
        // Striped pictures look alike; here they are wanted all.
        let curate =
            CurateSettings { tokenizer, near_difference: 0.0, ..CurateSettings::default() };
        let settings = Settings { curate, ..Settings::default() };
        tuwen_etl::curate::curate(&corpus, &settings, Gates::Judge, &stop).await
    })?;
    Ok(folder)
}

/// A 24-bit BMP of 32x32 pixels with dark noise that depends on `seed`.
fn striped_bmp(rgb: [u8; 3], seed: usize) -> Vec<u8> {
    const SIDE: u32 = 32;
    let size = 54 + SIDE * SIDE * 3;
    let mut bmp = Vec::from(*b"BM");
    for value in [size, 0, 54, 40, SIDE, SIDE, 1 | 24 << 16, 0, 0, 0, 0, 0, 0] {
        bmp.extend_from_slice(&u32::to_le_bytes(value));
    }
    let mut state = seed as u64 + 1;
    for _ in 0..SIDE * SIDE / 64 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for bit in 0..64 {
            let shade = if state >> bit & 1 == 1 { 2 } else { 3 };
            bmp.extend(rgb.iter().rev().map(|&level| (u16::from(level) * shade / 3) as u8));
        }
    }
    bmp
}

/// The trainer's own binary; small sizes on one thread.
pub(crate) fn tuwen(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tuwen-trainer"));
    command.args(arguments).current_dir(sample());
    command
}

/// A model that learns the sample in seconds.
const SMALL: [&str; 16] = [
    "threads=1",
    "image_size=32",
    "patch_size=16",
    "encoder_width=32",
    "encoder_layers=1",
    "encoder_heads=2",
    "encoder_mlp=64",
    "decoder_width=48",
    "decoder_layers=1",
    "decoder_heads=2",
    "decoder_dropout=0.1",
    "encoder_dropout=0.1",
    "batch_size=8",
    "grad_accumulation=2",
    "lr=0.005",
    "log_every=1",
];

fn small() -> impl Iterator<Item = String> {
    SMALL.iter().flat_map(|set| ["--set".to_owned(), format!("train.{set}")])
}

pub(crate) fn train(out: &Path, more: &[&str]) -> Command {
    let tokenizer = format!("train.tokenizer={}", here("tests/it/tokenizer.json").display());
    let mut command = tuwen(&["train", "--json"]);
    // By --set, so that a test may override them: a flag would win.
    for set in ["corpus=corpus", "train.preset=tiny", "train.device=cpu", &tokenizer] {
        command.args(["--set", set]);
    }
    command.arg("--out").arg(out);
    command.args(small()).args(more);
    command
}

pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_corpus_of_0_1_0_is_trained_from() {
    let out = tempfile::tempdir().unwrap();
    let corpus = here("../pipeline/cli/tests/corpus-0.1.0").display().to_string();
    let tokenizer = here("../data/sample/tokenizer.json").display().to_string();
    let more = ["--steps", "2", "--tokenizer", &tokenizer, "--set"];
    let set = format!("corpus={corpus}");
    let mut command = tuwen(&["train", "--preset", "tiny", "--device", "cpu", "--json"]);
    command.args(more).arg(set).arg("--out").arg(out.path()).args(small());
    let summary = json(&command.args(["--set", "train.eval_captions=0"]).output().unwrap());
    assert_eq!(summary["steps"], 2, "{summary}");
}

#[test]
fn a_model_learns_evaluates_and_captions() {
    let out = tempfile::tempdir().unwrap();
    let summary = json(
        &train(out.path(), &["--steps", "60", "--set", "train.save_every=20"]).output().unwrap(),
    );
    assert_eq!(summary["steps"], 60);
    assert_eq!(summary["evaluation"]["exact_match"], 1.0, "{summary}");
    let mut left: Vec<_> =
        fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["checkpoint-40", "checkpoint-60", "log.jsonl", "runs"]);

    let mut evaluate = tuwen(&["evaluate", "--corpus", "corpus", "--json", "--predictions"]);
    let predictions = out.path().join("predictions.jsonl");
    let figures =
        json(&evaluate.arg(&predictions).arg("--model").arg(out.path()).output().unwrap());
    for (key, expected) in [("examples", 11.0), ("captions", 9.0), ("exact_match", 1.0)] {
        assert_eq!(figures[key].as_f64(), Some(expected), "{key}");
    }
    check_predictions(&predictions, &figures);
    let corpus = sample().join("corpus");
    python::check(
        "read_events.py",
        &[out.path().as_os_str(), corpus.as_os_str(), predictions.as_os_str()],
    );

    let caption = |arguments: &[&str]| {
        let output = tuwen(&["caption", "--set", "decode.size=48"])
            .arg("--model")
            .arg(out.path())
            .args(arguments)
            .output()
            .unwrap();
        let text =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
        (output.status.code(), text)
    };
    let (code, [stdout, _]) = caption(&["images/test-1.bmp"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "中间有一个绿色的方形\n"));
    let (code, [stdout, stderr]) =
        caption(&["images/test-0.bmp", "train.csv", "images/test-2.bmp"]);
    assert_eq!(code, Some(2));
    assert_eq!(
        stdout,
        "images/test-0.bmp\t中间有一个红色的方形\nimages/test-2.bmp\t中间有一个蓝色的方形\n"
    );
    assert!(stderr.contains("train.csv: not_an_image"), "{stderr}");
    let (code, [stdout, _]) = caption(&["images/test-1.bmp", "--json", "--num-beams", "1"]);
    let line: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &line["caption"]), (Some(0), &Value::from("中间有一个绿色的方形")));
}

#[test]
fn a_killed_run_resumes_bit_for_bit() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = ["steps=60", "save_every=10", "save_total_limit=1", "eval_captions=0"];
    let options: Vec<_> = options.iter().map(|set| format!("train.{set}")).collect();
    let options: Vec<_> = options.iter().flat_map(|set| ["--set", set]).collect();
    json(&train(whole.path(), &options).output().unwrap());

    let mut child = train(killed.path(), &options);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_secs(300);
    // Any of the first five, of which each goes with the next: on a busy machine the first may not be seen.
    let has_checkpoint = || {
        let mut names = fs::read_dir(killed.path()).unwrap().map(|e| e.unwrap().file_name());
        names.any(|name| name.to_string_lossy().starts_with("checkpoint-"))
    };
    while !has_checkpoint() {
        assert!(Instant::now() < patience, "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(!killed.path().join("checkpoint-60").exists(), "it was done before it was killed");
    // Its settings are those it was started with; only its folder is given again.
    let mut resumed =
        tuwen(&["train", "--corpus", "corpus", "--resume", "auto", "--json", "--out"]);
    resumed.arg(killed.path());
    assert_eq!(json(&resumed.output().unwrap())["steps"], 60);
    for name in ["model.safetensors", "optimizer.safetensors"] {
        let [a, b] = [&whole, &killed]
            .map(|out| fs::read(out.path().join("checkpoint-60").join(name)).unwrap());
        assert!(a == b, "{name} differs");
    }

    // It resumes beyond the steps planned at first, although the checkpoint it resumes from is deleted meanwhile.
    let further = ["--steps", "63", "--set", "train.save_every=1", "--resume", "auto"];
    let summary = json(&train(killed.path(), &[&options[..], &further].concat()).output().unwrap());
    assert!(Path::new(summary["checkpoint"].as_str().unwrap()).join("tokenizer.json").exists());
    let resumed = killed;
    let refused = train(resumed.path(), &options).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(
        message.contains("a new run would mix with") && message.contains("hint: --resume auto"),
        "{message}"
    );
}

/// Each test picture once, with all its captions; the figures are pycocoevalcap's.
fn check_predictions(predictions: &Path, figures: &Value) {
    let text = fs::read_to_string(predictions).unwrap();
    let images: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: BTreeSet<_> = images.iter().map(|image| image["image_id"].as_str()).collect();
    assert_eq!((images.len(), ids.len()), (9, 9), "{text}");
    let mut references: Vec<Vec<&str>> = images
        .iter()
        .map(|image| {
            let references = image["references"].as_array().unwrap().iter();
            let mut references: Vec<_> = references.map(|r| r.as_str().unwrap()).collect();
            references.sort_unstable();
            references
        })
        .collect();
    references.sort_unstable();
    let captions = COLOURS.map(|(name, _)| format!("中间有一个{name}的方形"));
    let mut expected: Vec<Vec<&str>> = (0..9).map(|i| vec![captions[i % 3].as_str()]).collect();
    expected[0].extend(OTHER_CAPTIONS);
    expected[0].sort_unstable();
    expected.sort_unstable();
    assert_eq!(references, expected);

    let case = predictions.with_extension("json");
    fs::write(&case, serde_json::json!({"scores": figures, "images": images}).to_string()).unwrap();
    python::check("against_pycocoevalcap.py", &[case.as_os_str()]);
}

/// The steps of a log's evaluations and their losses.
fn losses(out: &Path) -> Vec<(u64, f64)> {
    let log = fs::read_to_string(out.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|l| Some((l["step"].as_u64()?, l["eval_loss"].as_f64()?))).collect()
}

#[test]
fn the_best_checkpoint_is_kept_and_survives_a_resume() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path();
    let options = ["eval_every=5", "save_total_limit=1", "eval_captions=9"];
    let options = options.map(|set| format!("train.{set}"));
    let run = |more: &[&str]| {
        let sets = options.iter().flat_map(|set| ["--set", set]);
        json(&train(out, &[&sets.collect::<Vec<_>>()[..], more].concat()).output().unwrap())
    };
    let by_loss = ["--set", "train.metric_for_best_model=loss"];
    run(&[&by_loss[..], &["--steps", "20"]].concat());
    // Far too large a rate: what follows is worse, and must not push out the best.
    let spoilt = ["--steps", "40", "--resume", "auto", "--set", "train.lr=0.5"];
    let summary = run(&[&by_loss[..], &spoilt].concat());

    let losses = losses(out);
    assert_eq!(
        losses.iter().map(|(step, _)| *step).collect::<Vec<_>>(),
        [5, 10, 15, 20, 25, 30, 35, 40]
    );
    let (step, loss) = *losses.iter().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert!(step < 40, "{losses:?}");
    let best = format!("checkpoint-{step}");
    assert_eq!(fs::read_link(out.join("best")).unwrap(), Path::new(&best));
    let state = fs::read_to_string(out.join("checkpoint-40/trainer_state.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    for found in [&state, &summary["best"]] {
        assert_eq!(found["best_model_checkpoint"], best);
        assert_eq!(found["best_metric"].as_f64(), Some(loss));
        assert_eq!(found["metric_for_best_model"], "loss");
    }
    let left = |prefix: &str| {
        let names =
            fs::read_dir(out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(left("checkpoint-"), [&best, "checkpoint-40"]);
    let mut evaluate = tuwen(&["evaluate", "--corpus", "corpus", "--json", "--captions", "0"]);
    let figures = json(&evaluate.arg("--model").arg(out.join("best")).output().unwrap());
    assert!((figures["loss"].as_f64().unwrap() - loss).abs() < 1e-6, "{figures} against {loss}");

    // Another metric starts over: its first evaluation is its best.
    let by_cider = ["--set", "train.metric_for_best_model=cider", "--resume", "auto"];
    let summary = run(&[&by_cider[..], &["--steps", "41"]].concat());
    assert_eq!(summary["best"]["best_model_checkpoint"], "checkpoint-41");
    assert_eq!(summary["best"]["best_metric"], summary["evaluation"]["cider"]);
    assert_eq!(left("checkpoint-"), ["checkpoint-41"]);
}

#[test]
fn a_resumed_run_replaces_the_events_of_the_steps_it_repeats() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path();
    let options = ["--steps", "6", "--set", "train.save_every=3", "--set", "train.eval_every=2"];
    json(&train(out, &options).output().unwrap());
    fs::remove_dir_all(out.join("checkpoint-6")).unwrap();
    json(&train(out, &[&options[..], &["--resume", "auto"]].concat()).output().unwrap());
    assert_eq!(losses(out).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2, 4, 6, 4, 6]);
    assert_eq!(fs::read_dir(out.join("runs")).unwrap().count(), 2);
    let predictions = out.join("predictions.jsonl");
    let mut evaluate = tuwen(&["evaluate", "--corpus", "corpus", "--json", "--predictions"]);
    json(&evaluate.arg(&predictions).arg("--model").arg(out).output().unwrap());
    let corpus = sample().join("corpus");
    python::check(
        "read_events.py",
        &[out.as_os_str(), corpus.as_os_str(), predictions.as_os_str()],
    );
}

/// A copy of the sample's corpus with flipped bits in the pixels of a few training images.
pub(crate) fn damaged_corpus() -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
            if path.is_dir() {
                copy(&path, &to);
            } else {
                fs::copy(&path, &to).unwrap();
            }
        }
    }
    let corpus = tempfile::tempdir().unwrap();
    copy(&sample().join("corpus"), corpus.path());
    let entries = fs::read_dir(corpus.path().join("images")).unwrap();
    let mut files = entries.map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|e| e == "parquet")).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    // Nearly all of the file is pixels, 6,912 bytes an image: this hits six or seven of them, most of which are for training.
    let middle = bytes.len() / 3;
    bytes[middle..middle + 40_000].iter_mut().step_by(100).for_each(|byte| *byte ^= 1);
    fs::write(file, bytes).unwrap();
    corpus
}

#[test]
fn bad_images_end_a_run_or_are_skipped_and_reported() {
    let (corpus, out) = (damaged_corpus(), tempfile::tempdir().unwrap());
    let corpus = format!("corpus={}", corpus.path().display());
    let options = ["--steps", "6", "--set", "train.eval_captions=0", "--set", "train.verify=true"];
    let run = |more: &[&str]| {
        let mut command = train(out.path(), &options);
        command.args(["--set", &corpus]).args(more).output().unwrap()
    };
    let failed = run(&[]);
    let message = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{message}");
    assert!(message.contains("row group 0, row ") && message.contains("CRC-32"), "{message}");
    fs::remove_file(out.path().join("log.jsonl")).unwrap();

    let skipped = run(&["--set", "train.on_bad_image=skip"]);
    let message = String::from_utf8_lossy(&skipped.stderr).into_owned();
    let summary = json(&skipped);
    // Six steps of two batches of 8: one and a half epochs, in which an example comes once or twice.
    let n = summary["skipped_examples"].as_u64().unwrap();
    assert!((1..=14).contains(&n), "{summary}");
    assert!(message.contains("skipped example "), "{message}");
    assert!(message.contains(summary["data_wait_advice"].as_str().unwrap()), "{message}");
    let log = fs::read_to_string(out.path().join("log.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let logged = lines.iter().filter(|line| line["skipped_example"].is_string()).count();
    assert_eq!(logged as u64, n);
    let last = lines.iter().rfind(|line| line["loss"].is_number()).unwrap();
    assert_eq!(last["skipped"].as_u64().unwrap(), n);
}

#[test]
fn sigterm_finishes_the_step_saves_and_is_exit_code_130() {
    let out = tempfile::tempdir().unwrap();
    let options = ["--steps", "100000", "--set", "train.eval_captions=0"];
    let child =
        train(out.path(), &options).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = out.path().join("log.jsonl");
    let patience = Instant::now() + Duration::from_secs(300);
    while fs::read_to_string(&log).is_ok_and(|text| text.is_empty()) || !log.exists() {
        assert!(Instant::now() < patience, "no step was logged");
        std::thread::yield_now();
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["stopped"], true);
    let step = summary["steps"].as_u64().unwrap();
    assert!(out.path().join(format!("checkpoint-{step}/model.safetensors")).exists());
}

#[test]
fn errors_are_reported_in_one_line() {
    let out = tempfile::tempdir().unwrap();
    for (more, code, expected) in [
        (["--set", "corpus=nowhere"], 1, "nowhere"),
        (["--set", "train.tokenizer=train.csv"], 1, "train.csv: expected a tokenizer.json"),
        (["--set", "train.nothing=1"], 2, "train.nothing: no such setting"),
        (["--encoder", "images"], 1, "images/config.json"),
        (["--set", "train.device=tpu"], 2, "expected cpu, cuda, cuda:N or auto, found `tpu`"),
        (["--set", "train.predicate=no_column = 1"], 1, "no_column"),
        (["--set", "train.decoder_positions=4"], 1, "the decoder holds 4"),
        (["--set", "train.metric_for_best_model=bleu"], 2, "expected one of none, loss, cider"),
        (["--preset", "seed"], 1, "google/vit-base-patch16-224: expected a folder, or a model of"),
        (["--preset", "seed"], 1, "hint: where there is a network, `hf download google/vit-base"),
    ] {
        let mut command = train(out.path(), &more);
        let output = command
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", out.path().join("nothing"))
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{more:?}: {message}");
        assert!(message.contains(expected), "{more:?}: {message}");
    }
}

#[test]
fn a_whole_model_stands_for_the_halves_of_a_preset() {
    let (out, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    json(&train(out.path(), &["--steps", "2", "--set", "train.eval_captions=0"]).output().unwrap());
    let model = format!("train.model={}", out.path().join("checkpoint-2").display());
    let mut command = train(again.path(), &["--steps", "1", "--set", &model, "--preset", "seed"]);
    let more = ["--set", "train.precision=f32", "--set", "train.eval_examples=4"];
    let summary = json(&command.args(more).output().unwrap());
    assert_eq!(summary["evaluation"]["examples"], 4, "{summary}");

    // How it writes captions is kept, but for what is given.
    let edited = out.path().join("checkpoint-2/generation_config.json");
    let mut generation: Value = serde_json::from_slice(&fs::read(&edited).unwrap()).unwrap();
    (generation["num_beams"], generation["max_length"]) = (3.into(), 9.into());
    fs::write(edited, generation.to_string()).unwrap();
    // The model knows which tokens of this tokenizer begin and end a caption.
    let renamed = out.path().join("renamed.json");
    let tokenizer = fs::read_to_string(here("tests/it/tokenizer.json")).unwrap();
    let tokenizer = tokenizer.replace("[CLS]", "<begin>").replace("[SEP]", "<stop>");
    fs::write(&renamed, tokenizer).unwrap();
    let renamed = format!("train.tokenizer={}", renamed.display());
    for (out, set, expected) in [("kept", renamed.as_str(), 3), ("given", "train.num_beams=2", 2)] {
        let out = again.path().join(out);
        let more = ["--steps", "1", "--set", &model, "--set", "train.eval_captions=0"];
        json(&train(&out, &[&more[..], &["--set", set]].concat()).output().unwrap());
        let written = fs::read(out.join("checkpoint-1/generation_config.json")).unwrap();
        let written: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!((&written["num_beams"], &written["max_length"]), (&expected.into(), &9.into()));
    }

    let both =
        train(again.path(), &["--set", &model, "--set", "train.encoder=x"]).output().unwrap();
    let message = String::from_utf8(both.stderr).unwrap();
    assert_eq!(both.status.code(), Some(2), "{message}");
    assert!(message.contains("train.encoder: expected nothing beside train.model"), "{message}");
}

#[test]
fn half_precision_learns() {
    let out = tempfile::tempdir().unwrap();
    let options = [
        "--steps",
        "30",
        "--set",
        "train.precision=f16",
        "--set",
        "train.gradient_checkpointing=true",
    ];
    let summary = json(&train(out.path(), &options).output().unwrap());
    let losses: Vec<f64> = fs::read_to_string(out.path().join("log.jsonl"))
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64())
        .collect();
    assert!(losses[29] < losses[0] / 2.0, "{losses:?}");
    let state = fs::read_to_string(out.path().join("checkpoint-30/trainer_state.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    let skipped = summary["skipped_steps"].as_u64().unwrap();
    assert_eq!(state["loss_scale"]["skipped"], skipped);
    assert_eq!(state["optimizer_steps"]["rest"], 30 - skipped);
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run() {
    let out = tempfile::tempdir().unwrap();
    let options = [
        "--steps",
        "50",
        "--set",
        "train.lr=1e30",
        "--set",
        "train.save_every=2",
        "--set",
        "train.warmup_steps=4",
    ];
    let output = train(out.path(), &options).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("expected a finite loss, found"), "{message}");
    assert!(message.contains("its examples: "), "{message}");
    assert!(message.contains("last good checkpoint: "), "{message}");
}

#[test]
fn a_step_that_overflows_changes_nothing_and_is_counted() {
    let out = tempfile::tempdir().unwrap();
    let sets = ["precision=f16", "lr=1e30", "warmup_steps=4", "save_every=1", "save_total_limit=0"];
    let sets: Vec<_> = sets.iter().map(|set| format!("train.{set}")).collect();
    let sets: Vec<_> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let output = train(out.path(), &[&sets[..], &["--steps", "60"]].concat()).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("skipped, a gradient was not finite"), "{message}");
    assert!(message.contains("no loss scale gives finite gradients"), "{message}");

    // The first steps have blown the parameters up beyond 16 bits: all later ones are skipped.
    let [before, after] = [10, 11].map(|step| {
        let folder = out.path().join(format!("checkpoint-{step}"));
        let state = fs::read_to_string(folder.join("trainer_state.json")).unwrap();
        let weights = fs::read(folder.join("model.safetensors")).unwrap();
        (serde_json::from_str::<Value>(&state).unwrap(), weights)
    });
    assert!(before.1 == after.1, "a skipped step changed the weights");
    assert_eq!(before.0["optimizer_steps"], after.0["optimizer_steps"]);
    let [before, after] = [&before.0["loss_scale"], &after.0["loss_scale"]];
    let skipped = |scale: &Value| scale["skipped"].as_u64().unwrap();
    assert_eq!(skipped(after), skipped(before) + 1);
    assert_eq!(after["scale"].as_f64().unwrap() * 2.0, before["scale"].as_f64().unwrap());
}

#[test]
fn a_last_batch_that_is_short_is_left_out_if_so_asked() {
    let out = tempfile::tempdir().unwrap();
    let steps = |out: &str, batch_size: &str, drop_last: &str| {
        let sets = ["epochs=2", "grad_accumulation=1", batch_size, drop_last];
        let sets = sets.map(|set| ["--set".to_owned(), format!("train.{set}")]).concat();
        train(Path::new(out), &sets.iter().map(String::as_str).collect::<Vec<_>>())
            .output()
            .unwrap()
    };
    let folder = |name: &str| out.path().join(name).display().to_string();
    for (name, drop_last, expected) in
        [("all", "drop_last=false", 4), ("whole", "drop_last=true", 2)]
    {
        let summary = json(&steps(&folder(name), "batch_size=40", drop_last));
        assert_eq!((&summary["train_examples"], &summary["steps"]), (&60.into(), &expected.into()));
    }
    let none = steps(&folder("none"), "batch_size=61", "drop_last=true");
    let message = String::from_utf8(none.stderr).unwrap();
    assert!(!none.status.success());
    assert!(
        message
            .contains("expected at least 61 examples in split train for one whole batch, found 60"),
        "{message}"
    );
}

/// The bench of machines with a GPU, as far as a CPU can try it.
#[test]
fn the_gpu_bench_runs_small_on_a_cpu() {
    let Some(python) = python::python() else { return };
    let corpus = sample().join("corpus");
    let mut bench = Command::new(python);
    bench.arg(here("benches/gpu.py")).args([
        "--small",
        "--trainer",
        env!("CARGO_BIN_EXE_tuwen-trainer"),
    ]);
    bench.arg("--tokenizer").arg(here("tests/it/tokenizer.json"));
    let output = bench.arg("--corpora").args([&corpus, &corpus]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let figures: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let runs = figures["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2, "{figures}");
    for run in runs {
        for key in ["step_ms", "pytorch_step_ms"] {
            assert!(run[key].as_f64().is_some_and(|ms| ms > 0.0), "{key}: {figures}\n{stderr}");
        }
        for corpus in ["raw", "jpeg"] {
            assert!(run[corpus]["together_images_per_s"].as_f64().is_some(), "{figures}");
        }
        assert!(!run["attention_kernels"].as_array().unwrap().is_empty(), "{figures}");
    }
}

#[test]
fn bench_gives_the_computation_the_loader_and_both() {
    let bench = |source: &[&str]| {
        let mut command = tuwen(&["bench", "--preset", "tiny", "--json", "--device", "cpu"]);
        command.args(["--steps", "3", "--warmup", "1"]).args(small()).args(source);
        command.arg("--tokenizer").arg(here("tests/it/tokenizer.json"));
        json(&command.output().unwrap())
    };
    let figure = |found: &Value, name: &str| found[name].as_f64();
    let measured = || {
        let found = bench(&["--corpus", "corpus"]);
        let [compute, loader, together] = ["compute", "loader", "together"]
            .map(|name| figure(&found, &format!("{name}_images_per_s")).unwrap());
        assert!(compute > 0.0 && together > 0.0, "{found}");
        (loader > together).then_some((found, compute))
    };
    // The loader is much faster by itself, but where something else has the cores for the moment that it is measured.
    let (found, compute) =
        (0..5).find_map(|_| measured()).expect("the loader is faster than all together");
    // A step is two batches of 8.
    assert!((figure(&found, "step_ms").unwrap() * compute / 16e3 - 1.0).abs() < 1e-9, "{found}");
    assert!((0.0..=100.0).contains(&figure(&found, "data_wait_percent").unwrap()), "{found}");

    let found = bench(&["--synthetic"]);
    assert!(figure(&found, "compute_images_per_s").unwrap() > 0.0, "{found}");
    for name in ["loader_images_per_s", "together_images_per_s", "data_wait_percent"] {
        assert_eq!(found[name], Value::Null);
    }
}

/// The training losses of a log.
fn training_losses(out: &Path) -> Vec<f64> {
    let log = fs::read_to_string(out.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["loss"].as_f64()).collect()
}

#[test]
fn a_frozen_encoder_sees_each_picture_once() {
    let no_dropout = ["encoder_dropout=0", "decoder_dropout=0"];
    let options =
        [&["steps=15", "freeze_encoder_steps=15", "eval_captions=0"][..], &no_dropout].concat();
    let run = |out: &Path, more: &[&str]| {
        let sets =
            options.iter().chain(more).flat_map(|set| ["--set".to_owned(), format!("train.{set}")]);
        let sets: Vec<_> = sets.collect();
        train(out, &sets.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap()
    };
    let [plain, cached, recomputed, stopped] = [(); 4].map(|()| tempfile::tempdir().unwrap());
    json(&run(plain.path(), &[]));
    let cache = "cache_encoder=true";
    json(&run(cached.path(), &[cache]));
    json(&run(recomputed.path(), &[cache, "gradient_checkpointing=true"]));
    // Four epochs. The states are rounded to f16; recomputed layers would draw another dropout.
    let expected = training_losses(plain.path());
    for out in [&cached, &recomputed] {
        let found = training_losses(out.path());
        assert_eq!((expected.len(), found.len()), (15, 15));
        for (a, b) in expected.iter().zip(&found) {
            assert!((a - b).abs() < 2e-3 * a, "{expected:?} against {found:?}");
        }
        let left: Vec<_> =
            fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(
            !left.iter().any(|name| name.to_string_lossy().starts_with("encoder-")),
            "{left:?}"
        );
    }
    // A run that ends before its time leaves the states of every picture, once, to the run that resumes it.
    let failing = run(stopped.path(), &[cache, "save_every=5", "lr=1e30"]);
    assert!(!failing.status.success());
    let states = stopped.path().join("encoder-states.f16");
    let picture = 16 + 5 * 32 * 2 + 4; // the key; five tokens of width 32; the checksum
    let n = (fs::metadata(states).unwrap().len() - 32) as f64 / picture as f64;
    assert!(n.fract() == 0.0 && (16.0..=N_PICTURES as f64).contains(&n), "{n}");
}

#[test]
fn what_changes_an_encoders_states_is_refused_with_a_cache() {
    for (set, expected) in [
        ("freeze_encoder_steps=3", "frozen in all 9 steps, found train.freeze_encoder_steps = 3"),
        ("flip=0.5", "the same pixels in every epoch, found train.crop, train.flip or"),
        ("encoder_dropout=0.1", "an encoder without dropout, found one with it"),
    ] {
        let out = tempfile::tempdir().unwrap();
        let sets =
            ["steps=9", "freeze_encoder_steps=9", "encoder_dropout=0", "cache_encoder=true", set];
        let sets: Vec<_> =
            sets.iter().flat_map(|set| ["--set".to_owned(), format!("train.{set}")]).collect();
        let output = train(out.path(), &sets.iter().map(String::as_str).collect::<Vec<_>>())
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(expected) && message.contains("hint: --set"), "{message}");
    }
}
