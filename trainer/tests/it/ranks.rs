//! Data parallel training on the CPU: real processes that find each other over loopback, by hand and by torchrun.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tch::{Kind, Tensor};

use crate::python::python;
use crate::run::{damaged_corpus, json, train};

/// Examples of a step, of all ranks together.
const GLOBAL_BATCH: usize = 12;

const STEPS: u64 = 8;

fn options(world: usize, steps: u64) -> Vec<String> {
    let batch = GLOBAL_BATCH / world;
    let sets = [
        format!("batch_size={batch}"),
        "grad_accumulation=1".to_owned(),
        "drop_last=true".to_owned(),
        "decoder_dropout=0".to_owned(),
        "encoder_dropout=0".to_owned(),
        "ranks_timeout_s=300".to_owned(),
        "eval_captions=9".to_owned(),
        format!("steps={steps}"),
    ];
    sets.iter().flat_map(|set| ["--set".to_owned(), format!("train.{set}")]).collect()
}

fn command(out: &Path, options: &[String]) -> Command {
    train(out, &options.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A port that is free, and stays so until a rank listens at it: another each time, and below those that the system gives of itself.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(23_000);
    let mut ports = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok()).unwrap()
}

/// Starts a process for each rank.
fn start(out: &Path, world: usize, options: &[String]) -> Vec<Child> {
    let free = free_port();
    let rank = |rank: usize| {
        let mut command = command(out, options);
        command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string());
        command.env("WORLD_SIZE", world.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", free.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    (0..world).map(rank).collect()
}

fn together(out: &Path, world: usize, options: &[String]) -> Vec<Output> {
    let ranks = start(out, world, options);
    ranks.into_iter().map(|rank| rank.wait_with_output().unwrap()).collect()
}

/// The lines of the log that have `key`.
fn logged(out: &Path, key: &str) -> Vec<f64> {
    let log = fs::read_to_string(out.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line[key].as_f64()).collect()
}

/// Where the runs differ: losses and metrics by at most 1e-4 of their value, parameters by at most 1e-3 of their norm. Not
/// bit by bit: a sum over ranks rounds otherwise than one over a batch, and Adam makes a step of full length of any gradient.
fn assert_equal(expected: &Path, found: &Path) {
    for key in ["loss", "eval_loss", "eval_cider"] {
        let [a, b] = [expected, found].map(|out| logged(out, key));
        assert!(!a.is_empty() && a.len() == b.len(), "{key}: {a:?} against {b:?}");
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() <= 1e-4 * a.abs(), "{key}: {a} against {b}");
        }
    }
    let read = |out: &Path| {
        let path = out.join(format!("checkpoint-{STEPS}/model.safetensors"));
        let mut all = Tensor::read_safetensors(path).unwrap();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        // A bias of keys has no effect: its gradient is rounding alone.
        all.retain(|(name, _)| !name.ends_with("key.bias"));
        let flat: Vec<_> = all.iter().map(|(_, tensor)| tensor.flatten(0, -1)).collect();
        Tensor::cat(&flat, 0).to_kind(Kind::Double)
    };
    let [a, b] = [expected, found].map(read);
    let difference = ((&a - &b).norm() / a.norm()).double_value(&[]);
    assert!(difference <= 1e-3, "parameters differ by {difference}");
}

#[test]
fn ranks_together_train_the_model_of_one_process() {
    let one = tempfile::tempdir().unwrap();
    json(&command(one.path(), &options(1, STEPS)).output().unwrap());
    for (world, sharded) in [(2, false), (2, true), (3, false), (3, true)] {
        let out = tempfile::tempdir().unwrap();
        let mut options = options(world, STEPS);
        options.extend(["--set".to_owned(), format!("train.shard_optimizer={sharded}")]);
        let outputs = together(out.path(), world, &options);
        // One summary of all.
        assert_eq!(json(&outputs[0])["steps"], STEPS);
        assert!(outputs[1..].iter().all(|rank| rank.status.success() && rank.stdout.is_empty()));
        assert_equal(one.path(), out.path());
        let stderr = String::from_utf8_lossy(&outputs[0].stderr);
        assert!(stderr.contains(&format!("on each of {world} ranks")), "{stderr}");
    }
}

#[test]
fn another_number_of_ranks_goes_on_in_the_same_order() {
    let (one, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    json(&command(one.path(), &options(1, STEPS)).output().unwrap());
    // The schedule of the whole run, stopped in its middle.
    let sets = ["--set", "train.save_every=4", "--set", "train.shard_optimizer=true"];
    let begun = [options(2, STEPS), sets.map(str::to_owned).to_vec()];
    json(&together(out.path(), 2, &begun.concat())[0]);
    fs::remove_dir_all(out.path().join(format!("checkpoint-{STEPS}"))).unwrap();
    let log = fs::read_to_string(out.path().join("log.jsonl")).unwrap();
    let first_half = log.lines().take(4).map(|line| format!("{line}\n")).collect::<String>();
    fs::write(out.path().join("log.jsonl"), first_half).unwrap();
    let resumed = [options(3, STEPS), vec!["--resume".to_owned(), "auto".to_owned()]];
    json(&together(out.path(), 3, &resumed.concat())[0]);
    assert_equal(one.path(), out.path());
}

/// Waits until rank 0 has logged a step.
fn wait_for_a_step(out: &Path) {
    let patience = Instant::now() + Duration::from_secs(300);
    let log = out.join("log.jsonl");
    while !fs::read_to_string(&log).is_ok_and(|log| !log.is_empty()) {
        assert!(Instant::now() < patience, "no step was logged");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(rank: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &rank.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_rank_that_is_killed_or_hangs_ends_the_others() {
    for name in ["-KILL", "-STOP"] {
        let out = tempfile::tempdir().unwrap();
        let mut options = options(3, 100_000);
        options.extend(["--set".to_owned(), "train.ranks_timeout_s=30".to_owned()]);
        let mut ranks = start(out.path(), 3, &options);
        wait_for_a_step(out.path());
        let lost = ranks.remove(1);
        signal(&lost, name);
        let begun = Instant::now();
        for rank in ranks {
            let output = rank.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            let last = stderr.lines().last().unwrap_or_default();
            assert_eq!(output.status.code(), Some(1), "{name}: {stderr}");
            assert!(
                last.contains("of 3: another rank ended, or did not come in time"),
                "{name}: {stderr}"
            );
        }
        assert!(begun.elapsed() < Duration::from_secs(240), "{name}: {:?}", begun.elapsed());
        signal(&lost, "-KILL");
        lost.wait_with_output().unwrap();
    }
}

/// Examples that a log says were skipped, in the order of their ids.
fn skipped(out: &Path) -> Vec<String> {
    let log = fs::read_to_string(out.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut all: Vec<String> =
        lines.filter_map(|line| Some(line["skipped_example"].as_str()?.to_owned())).collect();
    all.sort();
    all
}

#[test]
fn what_any_rank_skips_is_in_the_one_log() {
    let corpus = damaged_corpus();
    let corpus = format!("corpus={}", corpus.path().display());
    let [one, two] = [1, 2].map(|world| {
        let out = tempfile::tempdir().unwrap();
        let mut options = options(world, 5); // an epoch
        let sets =
            [&corpus, "train.on_bad_image=skip", "train.verify=true", "train.eval_captions=0"];
        options.extend(sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]));
        let outputs = match world {
            1 => vec![command(out.path(), &options).output().unwrap()],
            _ => together(out.path(), world, &options),
        };
        let found = skipped(out.path());
        assert_eq!(json(&outputs[0])["skipped_examples"], found.len());
        found
    });
    assert!(!one.is_empty());
    assert_eq!(one, two);
}

#[test]
fn a_signal_to_one_rank_stops_all_with_a_checkpoint() {
    let out = tempfile::tempdir().unwrap();
    let ranks = start(out.path(), 2, &options(2, 100_000));
    wait_for_a_step(out.path());
    signal(&ranks[1], "-TERM");
    for rank in ranks {
        let output = rank.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let names = fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().file_name());
    let checkpoints = names.filter(|name| name.to_string_lossy().starts_with("checkpoint-"));
    assert_eq!(checkpoints.count(), 1);
}

#[test]
fn what_is_missing_in_the_environment_is_named() {
    let out = tempfile::tempdir().unwrap();
    let run = |variables: &[(&str, &str)]| {
        let mut command = command(out.path(), &options(1, 1));
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let message = run(&[("WORLD_SIZE", "2")]);
    assert!(message.contains("RANK: expected it beside WORLD_SIZE, found nothing"), "{message}");
    let message = run(&[("WORLD_SIZE", "2"), ("RANK", "2"), ("MASTER_ADDR", "127.0.0.1")]);
    assert!(message.contains("RANK: expected a number below WORLD_SIZE"), "{message}");
    let message = run(&[("WORLD_SIZE", "zwei")]);
    assert!(message.contains("WORLD_SIZE: expected a whole number, found `zwei`"), "{message}");
}

#[test]
fn torchrun_starts_the_ranks_and_starts_them_again() {
    let Some(python) = python() else { return };
    let out = tempfile::tempdir().unwrap();
    // Rank 1 of the first attempt is killed after a checkpoint, the first or one of the next, long before the end.
    const STEPS: u64 = 100;
    let mut options = options(2, STEPS);
    options.extend(["--resume", "auto", "--set", "train.save_every=4"].map(str::to_owned));
    let trainer = command(out.path(), &options);
    let script = out.path().join("rank.sh");
    let fails_once = format!(
        "if [ $RANK = 1 ] && [ $TORCHELASTIC_RESTART_COUNT = 0 ]; then\n\
         (until ls -d {0}/checkpoint-*; do kill -0 $$ || exit; sleep 0.02; done; kill -KILL $$) \
         > {0}/killer.log 2>&1 & fi\nexec \"$@\"\n",
        out.path().display()
    );
    fs::write(&script, fails_once).unwrap();
    let torchrun = python.with_file_name("torchrun");
    let mut run = Command::new(torchrun);
    run.current_dir(trainer.get_current_dir().unwrap());
    run.args(["--no-python", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]);
    run.args(["bash"]).arg(&script).arg(trainer.get_program()).args(trainer.get_args());
    let output = run.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("resuming from "), "{stderr}");
    let log = fs::read_to_string(out.path().join("log.jsonl")).unwrap();
    assert!(log.lines().count() >= STEPS as usize, "{log}");
    assert!(out.path().join(format!("checkpoint-{STEPS}")).exists(), "{log}");
}
