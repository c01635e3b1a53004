//! `tuwen train`, `evaluate`, `caption`, `score`: handed over to the `tuwen-trainer` binary beside this one.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Subcommand;
use tuwen_corpus::log::LogFlags;

use crate::cli::hand_over::{binary, hand_over};

#[derive(Subcommand)]
pub(super) enum Trainer {
    /// Train a captioner on the corpus (see `tuwen train --help`)
    #[command(disable_help_flag = true)]
    Train(Arguments),
    /// Measure a trained captioner on a split (see `tuwen evaluate --help`)
    #[command(disable_help_flag = true)]
    Evaluate(Arguments),
    /// Caption pictures (see `tuwen caption --help`)
    #[command(disable_help_flag = true)]
    Caption(Arguments),
    /// Measure how much images say of their captions (see `tuwen score --help`)
    #[command(disable_help_flag = true)]
    Score(Arguments),
}

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Handed over as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Trainer {
    pub(super) fn run(self, log: LogFlags) -> Result<ExitCode> {
        let (name, arguments) = match self {
            Self::Train(arguments) => ("train", arguments.arguments),
            Self::Evaluate(arguments) => ("evaluate", arguments.arguments),
            Self::Caption(arguments) => ("caption", arguments.arguments),
            Self::Score(arguments) => ("score", arguments.arguments),
        };
        let hint =
            "`pip install 'tuwen[train]'` installs it; in a checkout `make build` builds both";
        let trainer = match std::env::var_os("TUWEN_TRAINER") {
            Some(path) => path.into(),
            None => binary("tuwen-trainer", hint)?,
        };
        let mut command = Command::new(trainer);
        command.args(log.arguments()).arg(name).args(arguments);
        hand_over(command)
    }
}
