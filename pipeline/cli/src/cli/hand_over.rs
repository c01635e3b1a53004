//! Binaries beside this one, to which commands are handed over, as git does with its subcommands: so this one needs neither libtorch nor
//! what a cluster takes.

use std::env::consts::EXE_SUFFIX;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

/// Binary `name` beside this one; where there is none, `hint` says how it is had.
///
/// # Errors
/// There is none.
pub(super) fn binary(name: &str, hint: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("where this binary is")?;
    let beside = this.with_file_name(format!("{name}{EXE_SUFFIX}"));
    if !beside.exists() {
        bail!("{}: expected {name} beside tuwen, found nothing\nhint: {hint}", beside.display());
    }
    Ok(beside)
}

/// This process becomes `command`, so that signals and exit codes are its own.
#[cfg(unix)]
pub(super) fn hand_over(mut command: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Err(error).with_context(|| format!("running {}", command.get_program().display()))
}

#[cfg(not(unix))]
pub(super) fn hand_over(mut command: Command) -> Result<ExitCode> {
    std::process::exit(command.status()?.code().unwrap_or(1))
}
