//! How a stage of the trainer ends. In: its report or error. Out: a table or JSON on stdout, an exit code. Never runs anything.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use tuwen_corpus::log::one_line;
use tuwen_corpus::report::{self, Outcome, StageReport};
use tuwen_etl::driver::StageFailed;
use tuwen_etl::exit_code::{GATE_RED, INTERRUPTED};

/// Prints what a stage did; as JSON also if it failed, were it before it began.
///
/// # Errors
/// That of the stage, but for a red gate, which is an exit code.
pub(super) fn summary(
    stage: &'static str,
    reported: Result<StageReport>,
    json: bool,
) -> Result<ExitCode> {
    let report = reported.as_ref().map_or_else(|error| failed(stage, error), StageReport::clone);
    let outcome = report.outcome;
    if json {
        print(&report::json(&[report])?)?;
    } else if outcome != Outcome::Failed {
        print(&report::table(&[report]))?;
    }
    match (reported, outcome) {
        (Err(error), Outcome::Gate) => {
            tracing::error!("{}", one_line(&error));
            Ok(ExitCode::from(GATE_RED))
        }
        (Err(error), _) => Err(error),
        (Ok(_), Outcome::Interrupted) => {
            tracing::warn!("interrupted: what is committed stays, the next run does the rest");
            Ok(ExitCode::from(INTERRUPTED))
        }
        (Ok(_), _) => Ok(ExitCode::SUCCESS),
    }
}

/// The report of a stage that failed, or could not begin.
fn failed(stage: &'static str, error: &Error) -> StageReport {
    match error.downcast_ref::<StageFailed>() {
        Some(failed) => (*failed.report).clone(),
        None => StageReport {
            outcome: Outcome::Failed,
            error: Some(format!("{error:#}")),
            ..StageReport::new(stage)
        },
    }
}

fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("writing to stdout")
}
