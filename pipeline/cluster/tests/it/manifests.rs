//! The manifests of deploy/kubernetes are what Kubernetes and our own parser take.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::crawl::text;
use crate::processes::tuwen;

/// The project's Python, if it has Kubernetes' schemas; where a comparison whose other side is missing fails, it must.
fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let import = ["-c", "import kubernetes_validate, yaml"];
    let has = Command::new(&python).args(import).stderr(Stdio::null()).status();
    if has.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    assert!(std::env::var_os("CI").is_none(), "no kubernetes-validate in .venv: make setup-test");
    eprintln!("left out: no kubernetes-validate in .venv");
    None
}

#[test]
fn manifests_are_taken() {
    let Some(python) = python() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("tests/it/manifests.py");
    let manifests = root.join("../../deploy/kubernetes");
    let commands = text(&Command::new(python).arg(script).arg(manifests).output().unwrap());
    assert_eq!(commands.lines().count(), 3, "{commands}");
    let folder = tempfile::TempDir::new().unwrap();
    for line in commands.lines() {
        let command: Vec<String> = serde_json::from_str(line).unwrap();
        assert!(["tuwen", "tuwen-cluster"].contains(&command[0].as_str()), "{line}");
        // With an option that is wrong: the parser complains of that one alone, and nothing is run.
        let mut args: Vec<&str> = command[1..].iter().map(String::as_str).collect();
        args.push("--no-such-option");
        let said = String::from_utf8(tuwen(folder.path(), &args).stderr).unwrap();
        assert!(said.contains("unexpected argument '--no-such-option'"), "{line}\n{said}");
    }
}
