//! The project's Python, for what its packages serve or know.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// It, if it has `modules`; where a comparison whose other side is missing fails, it must.
pub(crate) fn python(modules: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let import = format!("import {modules}");
    let has = Command::new(&python).args(["-c", &import]).stderr(Stdio::null()).status();
    if has.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    assert!(std::env::var_os("CI").is_none(), "no {modules} in .venv: make setup-test");
    eprintln!("left out: no {modules} in .venv");
    None
}
