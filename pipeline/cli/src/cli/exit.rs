//! How a command ends. In: an outcome, or an error. Out: the exit code: 0 fine, 1 failed, 2 wrong usage, 3 a gate is red, 4 the
//! corpus is held by another run, 130 interrupted.

use std::fmt;
use std::process::ExitCode;

use tuwen_corpus::Holder;
use tuwen_corpus::report::{Outcome, StageReport};
use tuwen_etl::driver::{RedGate, StageFailed};
use tuwen_etl::exit_code::{CORPUS_HELD, GATE_RED, INTERRUPTED, WRONG_USAGE};
use tuwen_settings::WrongSetting;

/// Who holds the corpus, as an error.
#[derive(Debug)]
pub(super) struct CorpusHeld(pub(super) Holder);

/// A signal came before the work began.
#[derive(Debug)]
pub(super) struct Interrupted;

/// Stages that were run until one failed.
#[derive(Debug)]
pub(super) struct RunFailed {
    /// Their reports.
    pub(super) reports: Vec<StageReport>,
    /// What failed.
    pub(super) source: anyhow::Error,
}

impl fmt::Display for CorpusHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the corpus is held by {}\nhint: --wait waits until it is free", self.0)
    }
}

impl std::error::Error for CorpusHeld {}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted: nothing was begun")
    }
}

impl std::error::Error for Interrupted {}

impl fmt::Display for RunFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The error is the message; that it has reports is for those who look.
        self.source.fmt(f)
    }
}

impl std::error::Error for RunFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.source()
    }
}

/// The reports of the stages that were run before `error`.
pub fn reports(error: &anyhow::Error) -> &[StageReport] {
    error.downcast_ref::<RunFailed>().map_or(&[], |failed| &failed.reports)
}

/// Of a command that failed.
pub fn of_error(error: &anyhow::Error) -> ExitCode {
    let error = error.downcast_ref::<RunFailed>().map_or(error, |failed| &failed.source);
    let failed = error.downcast_ref::<StageFailed>();
    if failed.map_or(error, StageFailed::cause).is::<WrongSetting>() {
        ExitCode::from(WRONG_USAGE)
    } else if error.is::<CorpusHeld>() {
        ExitCode::from(CORPUS_HELD)
    } else if error.is::<Interrupted>() {
        ExitCode::from(INTERRUPTED)
    } else if error.is::<RedGate>()
        || failed.is_some_and(|failed| failed.report.outcome == Outcome::Gate)
    {
        ExitCode::from(GATE_RED)
    } else {
        ExitCode::FAILURE
    }
}

/// Of a command that came to an end; that it was interrupted is said.
pub(super) fn of_outcome(outcome: Outcome) -> ExitCode {
    if outcome == Outcome::Interrupted {
        tracing::warn!("interrupted: what is committed stays, the next run does the rest");
        return ExitCode::from(INTERRUPTED);
    }
    ExitCode::SUCCESS
}
