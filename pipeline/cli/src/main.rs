//! The `tuwen` command: parse, run, exit code. 0: fine; 1: failed; 2: wrong usage; 3: a gate is red; 4: another run holds the
//! corpus; 130: interrupted.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tuwen::cli::main()
}
