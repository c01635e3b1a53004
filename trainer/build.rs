//! Compiles `src/shim.cpp` against libtorch's headers, and writes libtorch's folder into the binaries' run path, so that they
//! start without `LD_LIBRARY_PATH`. The folder comes from the same Python that torch-sys runs (`LIBTORCH_USE_PYTORCH`), or from
//! `LIBTORCH`.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH_USE_PYTORCH");
    println!("cargo:rerun-if-env-changed=VIRTUAL_ENV");
    println!("cargo:rerun-if-changed=src/shim.cpp");
    println!("cargo:rerun-if-changed=src/gloo");
    let Some(folder) = libtorch_folder() else {
        println!(
            "cargo::error=libtorch's folder is not known: expected LIBTORCH=FOLDER, or LIBTORCH_USE_PYTORCH and a Python with torch"
        );
        return;
    };
    // DT_RPATH rather than DT_RUNPATH: it also holds for what libtorch itself loads.
    println!(
        "cargo:rustc-link-arg=-Wl,-rpath,{},--disable-new-dtags",
        folder.join("lib").display()
    );
    // As torch-sys compiles its own; the headers bring warnings that are not ours.
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .define("USE_C10D_GLOO", None)
        .include(folder.join("include"))
        .include(folder.join("include/torch/csrc/api/include"))
        .include("src") // gloo/
        .warnings(false)
        .file("src/shim.cpp")
        .compile("tuwen_shim");
}

fn libtorch_folder() -> Option<PathBuf> {
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_none() {
        return Some(PathBuf::from(std::env::var_os("LIBTORCH")?));
    }
    // torch-sys runs `python` within an activated environment and `python3` otherwise.
    let python = if std::env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
    let script = "import importlib.util as u, os; print(os.path.dirname(os.path.realpath(u.find_spec('torch').origin)))";
    let output = Command::new(python).args(["-c", script]).output().ok()?;
    let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    folder.is_dir().then_some(folder)
}
