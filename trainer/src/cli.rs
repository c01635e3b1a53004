//! The command line of `tuwen train`, `evaluate`, `caption` and `score`, and of `tuwen-trainer bench`. In: arguments. Out: an exit
//! code: 0 fine, 1 failed, 2 wrong usage or pictures that could not be read, 3 too many images or examples of a corpus without a
//! caption or score, 130 interrupted. One file a command; never computes: each calls one module.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tuwen_corpus::log::LogFlags;

use crate::libtorch;

mod bench;
mod caption;
mod evaluate;
mod flags;
mod generate;
mod opened;
mod score;
mod summary;
mod train;

/// Trains and uses image captioning models.
#[derive(Parser)]
#[command(name = "tuwen", bin_name = "tuwen", version, about)]
pub struct Cli {
    #[command(flatten)]
    log: LogFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Evaluate(evaluate::EvaluateArgs),
    Caption(caption::CaptionArgs),
    Score(score::ScoreArgs),
    Bench(bench::BenchArgs),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// A run that failed.
    pub fn run(self) -> Result<ExitCode> {
        self.log.init();
        libtorch::use_passive_wait_policy()?;
        libtorch::keep_freed_memory();
        match self.command {
            Command::Train(args) => args.run(),
            Command::Evaluate(args) => args.run(),
            Command::Caption(args) => args.run(),
            Command::Score(args) => args.run(),
            Command::Bench(args) => args.run(),
        }
    }
}
