//! `tuwen-trainer`: the program that `tuwen train`, `evaluate`, `caption` and `score` become; `tuwen-trainer bench` is only here.

use std::process::ExitCode;

use clap::Parser;
use tuwen_corpus::log::one_line;
use tuwen_etl::exit_code::WRONG_USAGE;
use tuwen_settings::WrongSetting;
use tuwen_trainer::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run().unwrap_or_else(|error| {
        tracing::error!("{}", one_line(&error));
        if error.is::<WrongSetting>() { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
    })
}
