//! Model folders as people have them: other files, values, weights and tokenizers. Each is captioned with as transformers does it, or
//! refused by name; folders.py makes them and says which.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::python::{self, python};
use crate::run::tuwen;

/// Folders that are captioned with at the same time: a command is one thread.
const AT_ONCE: usize = 2;

#[test]
fn folders_are_read_as_transformers_reads_them() {
    if python().is_none() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    python::check("folders.py", &[root.path().as_os_str()]);
    let expected = std::fs::read(root.path().join("expected.json")).unwrap();
    let expected: serde_json::Map<String, Value> = serde_json::from_slice(&expected).unwrap();
    assert!(expected.len() > 70, "{}", expected.len());
    let cases: Vec<_> = expected.iter().collect();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let chunks = cases.chunks(cases.len().div_ceil(AT_ONCE));
        let check = |chunk: &[(&String, &Value)]| -> Vec<String> {
            chunk.iter().filter_map(|(name, expected)| wrong(root.path(), name, expected)).collect()
        };
        let threads: Vec<_> = chunks.map(|chunk| scope.spawn(move || check(chunk))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the captions or the refusal of a folder, if anything.
fn wrong(root: &Path, name: &str, expected: &Value) -> Option<String> {
    let pictures: Vec<PathBuf> = (0..3).map(|n| root.join(format!("{n}.png"))).collect();
    let mut command = tuwen(&["caption", "--json", "--device", "cpu", "--set", "train.threads=1"]);
    let output = command.arg("--model").arg(root.join(name)).args(pictures).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if let Some(words) = expected["refused"].as_str() {
        let is_refused = output.status.code() == Some(1) && stderr.contains(words);
        return (!is_refused)
            .then(|| format!("{name}: expected a refusal with `{words}`, found {stderr}"));
    }
    let captions: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["caption"].clone())
        .collect();
    let is_same = Value::from(captions.clone()) == expected["captions"];
    (!is_same).then(|| format!("{name}: expected {expected}, found {captions:?} {stderr}"))
}
