//! How a stage of the trainer ends. In: its report or error. Out: a table or JSON on stdout, an exit code. Never runs anything.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use tuwen_corpus::report::{self, Outcome, StageReport};
use tuwen_etl::driver::StageFailed;
use tuwen_etl::stop::INTERRUPTED;

/// More images or examples were left out than the settings allow.
const GATE_RED: u8 = 3;

/// Prints what a stage did, as JSON also if it failed; `left_out` says what became of rejected rows ("images asked for were not
/// captioned").
pub(super) fn summary(
    reported: Result<StageReport>,
    left_out: &str,
    json: bool,
    max_rejected_percent: f64,
) -> Result<ExitCode> {
    let failed = reported.as_ref().err().and_then(|error| error.downcast_ref::<StageFailed>());
    let report = match (&reported, failed) {
        (Ok(report), _) => Some(report),
        (Err(_), failed) => failed.filter(|_| json).map(|failed| &*failed.report),
    };
    if let Some(report) = report.cloned() {
        let text = if json { report::json(&[report])? } else { report::table(&[report]) };
        writeln!(std::io::stdout(), "{text}").context("writing to stdout")?;
    }
    let report = reported?;
    if report.outcome == Outcome::Interrupted {
        eprintln!("interrupted: what is committed stays, the next run does the rest");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    // Of all that were asked for, so that asking again for a corpus with a few bad images ends as well as the first time.
    let n_asked = (report.rows_in + report.known).max(1);
    let percent = 100.0 * report.n_rejected() as f64 / n_asked as f64;
    if percent > max_rejected_percent {
        eprintln!(
            "{}: {percent:.1} % of the {left_out}, max_rejected_percent is {max_rejected_percent}",
            report.stage
        );
        return Ok(ExitCode::from(GATE_RED));
    }
    Ok(ExitCode::SUCCESS)
}
