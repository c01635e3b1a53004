//! The wheel, as maturin makes it of the library that cargo has built, in a fresh environment whose PATH has no Rust: `smoke.py` does
//! there what a person begins with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::package::{here, library, python_with, run};

/// Where the test works; made anew by every run.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tuwen-wheel");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The one wheel in `folder`.
fn wheel_in(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut wheels = entries.filter(|path| path.extension().is_some_and(|end| end == "whl"));
    let wheel = wheels.next().unwrap();
    assert!(wheels.next().is_none());
    wheel
}

#[test]
fn a_wheel_runs_in_a_fresh_environment_without_rust() {
    let Some(python) = python_with("maturin, numpy") else { return };
    let folder = folder();
    let bin = python.parent().unwrap().canonicalize().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut maturin = Command::new(bin.join("maturin"));
    maturin.args(["build", "--profile", "dev", "--locked"]);
    maturin.args(["--compression-method", "stored", "--out"]).arg(&folder);
    maturin.current_dir(here()).env("PATH", &path).env("REAL_CARGO", env!("CARGO"));
    maturin.env("CARGO", here().join("tests/it/cargo_that_has_built.py"));
    run(maturin.env("BUILT_LIBRARY", library()));
    let wheel = wheel_in(&folder);
    let name = wheel.file_name().unwrap().to_str().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(name.starts_with(&format!("tuwen-{version}-cp310-abi3-manylinux_2_")), "{name}");

    let venv = folder.join("venv");
    run(Command::new(&python).args(["-m", "venv", "--without-pip"]).arg(&venv));
    let fresh = venv.join("bin/python");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "--disable-pip-version-check", "--python"]).arg(&fresh);
    run(pip.args(["install", "--quiet", "--no-index", "--no-deps"]).arg(&wheel));
    std::fs::remove_file(&wheel).unwrap();

    let mut smoke = Command::new(&fresh);
    smoke.arg(here().join("tests/it/smoke.py")).arg(here().join("../../data/sample")).arg(&folder);
    // numpy of the project's environment, for the stream alone.
    let site = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let site = run(Command::new(&python).args(["-c", site]));
    smoke.env_clear().env("PATH", "/usr/bin:/bin").env("NUMPY", site.trim());
    run(&mut smoke);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_two_wheels_have_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    let pyproject = std::fs::read_to_string(here().join("pyproject.toml")).unwrap();
    let extra = format!("train = [\"tuwen-trainer=={version}; sys_platform == 'linux'\"]");
    assert!(pyproject.contains(&extra), "pyproject.toml: expected {extra}");
    let requirements = std::fs::read_to_string(here().join("../../requirements.txt")).unwrap();
    let torch = requirements.lines().find(|line| line.starts_with("torch==")).unwrap();
    let trainer = here().join("../../trainer/pyproject.toml");
    let trainer = std::fs::read_to_string(trainer).unwrap();
    assert!(trainer.contains(&format!("dependencies = [\"{torch}\"]")), "expected {torch}");
}
