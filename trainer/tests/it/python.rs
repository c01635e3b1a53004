//! Scripts that compare what the trainer wrote with other implementations. They run in `.venv`; without it there is nothing to
//! compare with.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter, if it is there. Where CI is set a comparison may not fall out: it fails.
pub(crate) fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    if !python.exists() {
        assert!(std::env::var_os("CI").is_none(), "no .venv: nothing to compare with");
        eprintln!("no .venv: nothing to compare with");
        return None;
    }
    Some(python)
}

/// Runs a script from this folder; it must exit with 0, which means that all is equal.
pub(crate) fn check(script: &str, arguments: &[&OsStr]) {
    let Some(python) = python() else { return };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("tests/it").join(script);
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
