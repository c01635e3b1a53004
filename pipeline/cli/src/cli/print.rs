//! What the commands print that have a report of their own: text for people, or one JSON object.

use std::io::{ErrorKind, Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;
use tuwen_corpus::report::Outcome;

use crate::cli::hold::INTERRUPTED;

/// Prints `report` as JSON if that is asked for, otherwise `text`.
pub(super) fn print(json: bool, report: &impl Serialize, text: &str) -> Result<()> {
    let text = if json { serde_json::to_string(report)? } else { text.to_owned() };
    match writeln!(stdout().lock(), "{}", text.trim_end()) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
    }
}

/// The exit code of a command that can be interrupted.
pub(super) fn exit_code(outcome: Outcome) -> ExitCode {
    if outcome == Outcome::Interrupted {
        eprintln!("interrupted: what is committed stays, the next run does the rest");
        return ExitCode::from(INTERRUPTED);
    }
    ExitCode::SUCCESS
}
