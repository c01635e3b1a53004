//! The module as Python finds it, and a corpus. In: the library that cargo has built beside this test. Out: a folder for
//! `PYTHONPATH`, links into the sources and to the library; scripts that were run.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the scripts share, made by the first that asks.
static SHARED: OnceLock<PathBuf> = OnceLock::new();

pub(crate) fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The library of the module, which cargo puts beside the tests.
pub(crate) fn library() -> PathBuf {
    let name = format!("lib_tuwen{}", std::env::consts::DLL_SUFFIX);
    let library = std::env::current_exe().unwrap().with_file_name(name);
    assert!(library.exists(), "{}: cargo has not built the module", library.display());
    library
}

/// The interpreter, if it can import `modules`. Where CI is set a comparison may not fall out: it fails.
pub(crate) fn python_with(modules: &str) -> Option<PathBuf> {
    let python = here().join("../../.venv/bin/python");
    let imported = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if imported.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let said = format!("no {modules} in .venv: not tested; `make test` installs it");
    assert!(std::env::var_os("CI").is_none(), "{said}");
    eprintln!("{said}");
    None
}

/// The folder with `tuwen/` and `corpus/`, made anew by every run; none without a Python that can make it.
pub(crate) fn shared() -> Option<&'static Path> {
    let python = python_with("PIL, numpy")?;
    let shared = SHARED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tuwen-python");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        std::fs::create_dir_all(&folder).unwrap();
        link_package(&folder.join("tuwen"));
        let mut make = Command::new(python);
        make.arg(here().join("tests/it/corpus.py")).arg(&folder).env("PYTHONPATH", &folder);
        run(&mut make);
        folder
    });
    Some(shared)
}

fn link_package(package: &Path) {
    std::fs::create_dir(package).unwrap();
    for entry in std::fs::read_dir(here().join("python/tuwen")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            symlink(&path, package.join(path.file_name().unwrap())).unwrap();
        }
    }
    symlink(library(), package.join("_tuwen.abi3.so")).unwrap();
}

/// Runs a script of this folder with the module on its path, and the shared folder as its argument.
pub(crate) fn run_script(name: &str, modules: &str) {
    let (Some(python), Some(shared)) = (python_with(modules), shared()) else { return };
    let mut script = Command::new(python);
    script.arg("-Werror::ResourceWarning").arg(here().join("tests/it").join(name)).arg("-v");
    run(script.env("PYTHONPATH", shared).env("SHARED_FOLDER", shared));
}

/// Runs `command`, which must end well.
pub(crate) fn run(command: &mut Command) -> String {
    // Nothing that is imported may be looked for on a network, or leave files beside the sources.
    command.env("HF_HUB_OFFLINE", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
