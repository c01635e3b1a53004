//! The manifests of deploy/kubernetes are what Kubernetes and our own parser take.

use std::path::Path;
use std::process::Command;

use crate::crawl::text;
use crate::processes::tuwen;
use crate::python::python;

#[test]
fn manifests_are_taken() {
    let Some(python) = python("kubernetes_validate, yaml") else { return };
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
