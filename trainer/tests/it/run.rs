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
fn sample() -> &'static Path {
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
fn tuwen(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tuwen-trainer"));
    command.args(arguments).current_dir(sample());
    command
}

fn train(out: &Path, more: &[&str]) -> Command {
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

fn json(output: &Output) -> Value {
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

/// A copy of the sample's corpus with flipped bits in the pixels of a few training images.
fn damaged_corpus() -> tempfile::TempDir {
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
    // Nearly all of the file is pixels, 6,912 bytes an image: this hits three or four of them, and training comes first.
    let middle = bytes.len() / 3;
    bytes[middle..middle + 20_000].iter_mut().step_by(100).for_each(|byte| *byte ^= 1);
    fs::write(file, bytes).unwrap();
    corpus
}

#[test]
fn bad_images_end_a_run_or_are_skipped_and_told() {
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
    // Six steps of two batches of 8: one and a half epochs.
    let n = summary["skipped_examples"].as_u64().unwrap();
    assert!((3..=8).contains(&n), "{summary}");
    assert!(message.contains("skipped example "), "{message}");
    assert!(message.contains(summary["data_wait_advice"].as_str().unwrap()), "{message}");
    let log = fs::read_to_string(out.path().join("log.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = lines.iter().filter(|line| line["skipped_example"].is_string()).count();
    assert_eq!(told as u64, n);
    let last = lines.iter().rfind(|line| line["loss"].is_number()).unwrap();
    assert_eq!(last["skipped"].as_u64().unwrap(), n);
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
