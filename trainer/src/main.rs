//! `tuwen-trainer`: the program that `tuwen train`, `tuwen evaluate` and `tuwen caption` become; `tuwen-trainer bench` is only here.

use std::process::ExitCode;

use clap::Parser;
use tuwen_corpus::log::one_line;
use tuwen_trainer::cli::Cli;
use tuwen_trainer::libtorch;

fn main() -> ExitCode {
    let cli = Cli::parse();
    libtorch::use_passive_wait_policy().and_then(|()| cli.run()).unwrap_or_else(|error| {
        eprintln!("error: {}", one_line(&error));
        ExitCode::FAILURE
    })
}
