//! The `tuwen` command: parse, run, exit code. 0: fine; 1: failed; 2: finished, but too many rows were rejected.

use std::process::ExitCode;

fn main() -> ExitCode {
    tuwen::cli::main()
}
