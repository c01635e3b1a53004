//! `tuwen train`, `evaluate`, `caption`, `score`: handed over to the `tuwen-trainer` binary beside this one, as git does with its
//! subcommands, so that this binary needs no libtorch.

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use tuwen_corpus::log::LogFlags;

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
        let binary = binary()?;
        let mut command = Command::new(&binary);
        command.args(log.arguments()).arg(name).args(arguments);
        hand_over(command).with_context(|| format!("running {}", binary.display()))
    }
}

/// This process becomes the trainer, so that signals and exit codes are the trainer's own.
#[cfg(unix)]
fn hand_over(mut command: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn hand_over(mut command: Command) -> Result<ExitCode> {
    let code = command.status()?.code().unwrap_or(1);
    Ok(ExitCode::from(code as u8))
}

/// `TUWEN_TRAINER`, else the binary beside this one.
fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TUWEN_TRAINER") {
        return Ok(path.into());
    }
    let this = std::env::current_exe().context("where this binary is")?;
    let beside = this.with_file_name(format!("tuwen-trainer{EXE_SUFFIX}"));
    if !beside.exists() {
        bail!(
            "{}: expected the trainer beside tuwen, found nothing\n\
             hint: `pip install 'tuwen[train]'` installs it; in a checkout `make build` builds both",
            beside.display()
        );
    }
    Ok(beside)
}
