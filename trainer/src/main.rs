//! `tuwen-trainer`: the program that `tuwen train`, `evaluate`, `caption` and `score` become; `tuwen-trainer bench` is only here.

use std::process::ExitCode;

use clap::Parser;
use tuwen_corpus::log::one_line;
use tuwen_settings::WrongSetting;
use tuwen_trainer::cli::Cli;

const FAILED: u8 = 1;

/// The same as clap's for arguments that it does not understand.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    Cli::parse().run().unwrap_or_else(|error| {
        tracing::error!("{}", one_line(&error));
        ExitCode::from(if error.is::<WrongSetting>() { WRONG_USAGE } else { FAILED })
    })
}
