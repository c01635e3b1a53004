//! The tests of the Python module, which are Python's. This makes a corpus and a folder with the module as the wheel would have it,
//! and runs each script of this folder in the project's `.venv`. A script must end with exit code 0.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod package;
mod rust_epochs;
mod wheel;

use package::run_script;

#[test]
fn the_stream() {
    rust_epochs::write();
    run_script("test_stream.py", "torch, numpy");
}

#[test]
fn loaders_and_ranks() {
    run_script("test_loader.py", "torch, numpy, torchdata");
}

#[test]
fn the_trainer_of_hugging_face() {
    run_script("test_trainer.py", "torch, transformers, accelerate");
}

#[test]
fn the_corpus_as_arrow() {
    run_script("test_corpus.py", "pyarrow, polars, pandas, duckdb");
}

#[test]
fn the_stages() {
    run_script("test_stages.py", "PIL, numpy");
}
