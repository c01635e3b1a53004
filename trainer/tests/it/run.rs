//! Whole runs on a small corpus that the pipeline makes here: train, stop, go on, evaluate, caption.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tuwen::corpus::Corpus;
use tuwen::fetch::{Source, fetch};
use tuwen::settings::{CurateSettings, DecodeSettings, FetchSettings};

const N_PICTURES: usize = 60;

/// Colours a model of this size tells apart in a few steps.
const COLOURS: [(&str, [u8; 3]); 3] =
    [("红色", [220, 30, 30]), ("绿色", [30, 180, 60]), ("蓝色", [30, 60, 220])];

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
        fs::write(folder.path().join(format!("{split}.csv")), csv)?;
    }
    let files = ["train.csv", "test.csv"].map(|name| folder.path().join(name));
    let tokenizer = here("tests/it/tokenizer.json").display().to_string();
    tokio::runtime::Runtime::new()?.block_on(async {
        let corpus =
            Corpus::open_or_create(&folder.path().join("corpus").display().to_string()).await?;
        tuwen::ingest::ingest(&corpus, &files).await?;
        fetch(&corpus, Source::Folder(images), &FetchSettings::default()).await?;
        let settings = DecodeSettings { size: 48, ..DecodeSettings::default() };
        tuwen::decode::decode(&corpus, &settings).await?;
        // Striped pictures look alike; here they are wanted all.
        let settings = CurateSettings { tokenizer, near_levels: 0.0, ..CurateSettings::default() };
        tuwen::curate::curate(&corpus, &settings).await
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

pub(crate) fn train(out: &Path, more: &[&str]) -> Command {
    let tokenizer = here("tests/it/tokenizer.json");
    let mut command =
        tuwen(&["train", "--preset", "tiny", "--corpus", "corpus", "--device", "cpu", "--json"]);
    command.arg("--tokenizer").arg(tokenizer).arg("--out").arg(out);
    for set in [
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
    ] {
        command.arg("--set").arg(format!("train.{set}"));
    }
    command.args(more);
    command
}

pub(crate) fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
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
    assert_eq!(left, ["checkpoint-40", "checkpoint-60", "log.jsonl"]);

    let mut evaluate = tuwen(&["evaluate", "--corpus", "corpus", "--json", "--predictions"]);
    let predictions = out.path().join("predictions.jsonl");
    let figures =
        json(&evaluate.arg(&predictions).arg("--model").arg(out.path()).output().unwrap());
    assert_eq!(
        (&figures["examples"], &figures["exact_match"]),
        (&Value::from(9), &Value::from(1.0))
    );
    assert_eq!(fs::read_to_string(predictions).unwrap().lines().count(), 9);

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
fn a_resumed_run_ends_as_one_that_was_not_stopped() {
    let (whole, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options =
        ["--steps", "10", "--set", "train.save_every=5", "--set", "train.eval_captions=0"];
    json(&train(whole.path(), &options).output().unwrap());
    let (from, to) = (whole.path().join("checkpoint-5"), resumed.path().join("checkpoint-5"));
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    json(&train(resumed.path(), &[&options[..], &["--resume", "auto"]].concat()).output().unwrap());
    for name in ["model.safetensors", "optimizer.safetensors"] {
        let [a, b] = [&whole, &resumed]
            .map(|out| fs::read(out.path().join("checkpoint-10").join(name)).unwrap());
        assert!(a == b, "{name} differs");
    }

    let refused = train(resumed.path(), &options).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(
        message.contains("a new run would mix with") && message.contains("hint: --resume auto"),
        "{message}"
    );
}

#[test]
fn sigterm_finishes_the_step_saves_and_ends_well() {
    let out = tempfile::tempdir().unwrap();
    let options = ["--steps", "100000", "--set", "train.eval_captions=0"];
    let child =
        train(out.path(), &options).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = out.path().join("log.jsonl");
    let patience = Instant::now() + Duration::from_secs(120);
    while fs::read_to_string(&log).is_ok_and(|text| text.is_empty()) || !log.exists() {
        assert!(Instant::now() < patience, "no step was logged");
        std::thread::yield_now();
    }
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let summary = json(&child.wait_with_output().unwrap());
    assert_eq!(summary["stopped"], true);
    let step = summary["steps"].as_u64().unwrap();
    assert!(out.path().join(format!("checkpoint-{step}/model.safetensors")).exists());
}

#[test]
fn what_cannot_work_is_said_in_a_line() {
    let out = tempfile::tempdir().unwrap();
    for (more, expected) in [
        (["--set", "corpus=nowhere"], "nowhere"),
        (["--set", "train.tokenizer=train.csv"], "train.csv: expected a tokenizer.json"),
        (["--set", "train.nothing=1"], "unknown field `nothing`"),
        (["--encoder", "images"], "images/config.json"),
        (["--set", "train.device=tpu"], "expected cpu, cuda, cuda:N or auto, found `tpu`"),
        (["--set", "train.predicate=no_column = 1"], "no_column"),
        (["--set", "train.decoder_positions=4"], "the decoder holds 4"),
    ] {
        let output = train(out.path(), &more).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{more:?}: {message}");
        assert!(message.contains(expected), "{more:?}: {message}");
    }
}

#[test]
fn half_precision_skips_what_overflows_and_learns() {
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
fn a_loss_that_is_no_number_ends_the_run() {
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
