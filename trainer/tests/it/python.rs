//! Scripts that compare what the trainer wrote with other implementations. They run in `.venv`; without it there is nothing to
//! compare with.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Runs a script that lies beside this file; it must say that all is equal.
pub(crate) fn check(script: &str, arguments: &[&OsStr]) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../.venv/bin/python");
    if !python.exists() {
        eprintln!("no .venv: nothing to compare with");
        return;
    }
    let script = here.join("tests/it").join(script);
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
