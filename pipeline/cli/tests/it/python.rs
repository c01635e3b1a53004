//! The other side of comparisons: Python and what is in the repository's `.venv`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter, if it can import `modules`. Where CI is set a comparison may not fall out: it fails.
pub(crate) fn python_with(modules: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let import = format!("import {modules}");
    let imported = Command::new(&python).args(["-c", &import]).output();
    if imported.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let said = format!("no {modules} in .venv: not compared; `make test` installs it");
    assert!(std::env::var_os("CI").is_none(), "{said}");
    eprintln!("{said}");
    None
}
