//! What the commands print that have a report of their own: text for people, or one JSON object.

use std::io::{ErrorKind, Write, stdout};

use anyhow::{Context, Result};
use serde::Serialize;

/// Prints `report` as JSON if that is asked for, otherwise `text`.
pub(super) fn print(json: bool, report: &impl Serialize, text: &str) -> Result<()> {
    if json { print_text(&serde_json::to_string(report)?) } else { print_text(text) }
}

/// Prints `text`, and an end of line.
pub(super) fn print_text(text: &str) -> Result<()> {
    match writeln!(stdout().lock(), "{}", text.trim_end()) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
    }
}
