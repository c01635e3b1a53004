//! `tuwen-trainer`: what `tuwen train`, `tuwen evaluate` and `tuwen caption` hand over to; `tuwen-trainer bench` is its own.

use std::process::ExitCode;

use clap::Parser;
use tuwen_trainer::cli::Cli;
use tuwen_trainer::libtorch;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            let failed = message.use_stderr();
            // Nothing can be told if even this cannot be written.
            let _ = message.print();
            return if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    libtorch::wait_asleep().and_then(|()| cli.run()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
