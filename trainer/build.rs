//! Writes libtorch's folder into the binaries' run path, so that they start without `LD_LIBRARY_PATH`.
//! The folder comes from the same Python that torch-sys runs (`LIBTORCH_USE_PYTORCH`), or from `LIBTORCH`.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH_USE_PYTORCH");
    println!("cargo:rerun-if-env-changed=VIRTUAL_ENV");
    let Some(folder) = libtorch_folder() else {
        println!(
            "cargo:warning=libtorch's folder is not known; the binary will need LD_LIBRARY_PATH"
        );
        return;
    };
    // DT_RPATH rather than DT_RUNPATH: it also holds for what libtorch itself loads.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{},--disable-new-dtags", folder.display());
}

fn libtorch_folder() -> Option<PathBuf> {
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_none() {
        return Some(PathBuf::from(std::env::var_os("LIBTORCH")?).join("lib"));
    }
    // torch-sys runs `python` within an activated environment and `python3` otherwise.
    let python = if std::env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
    let script = "import importlib.util as u, os; print(os.path.join(os.path.dirname(os.path.realpath(u.find_spec('torch').origin)), 'lib'))";
    let output = Command::new(python).args(["-c", script]).output().ok()?;
    let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    folder.is_dir().then_some(folder)
}
