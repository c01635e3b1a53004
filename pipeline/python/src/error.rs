//! Errors as exceptions. In: what went wrong below. Out: `TuwenError` or one of its kinds, with the words that the command line
//! prints and the reports of the stages before. Never words of its own.

use std::process::ExitCode;

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt};
use pyo3::prelude::*;
use tuwen_corpus::log::one_line;
use tuwen_corpus::report::StageReport;
use tuwen_etl::exit_code::{CORPUS_HELD, GATE_RED, INTERRUPTED, WRONG_USAGE};

create_exception!(tuwen, TuwenError, PyException, "What tuwen could not do, and why.");
create_exception!(
    tuwen,
    WrongUsage,
    TuwenError,
    "An option or a setting that there is not, or may not have this value."
);
create_exception!(
    tuwen,
    GateRed,
    TuwenError,
    "Too many rows were rejected, or another gate was red."
);
create_exception!(tuwen, CorpusHeld, TuwenError, "Another run holds the corpus.");

/// Adds the exceptions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("TuwenError", py.get_type::<TuwenError>())?;
    module.add("WrongUsage", py.get_type::<WrongUsage>())?;
    module.add("GateRed", py.get_type::<GateRed>())?;
    module.add("CorpusHeld", py.get_type::<CorpusHeld>())
}

/// The exception of an error.
pub(crate) fn exception(error: &anyhow::Error) -> PyErr {
    TuwenError::new_err(one_line(error))
}

/// The exception of a command that failed, by its exit code. Its `reports` are those of the stages before, as JSON.
pub(crate) fn of_command(py: Python<'_>, error: &anyhow::Error) -> PyErr {
    let (code, words) = (tuwen::cli::of_error(error), one_line(error));
    let is = |n: u8| code == ExitCode::from(n);
    let raised = if is(WRONG_USAGE) {
        WrongUsage::new_err(words)
    } else if is(GATE_RED) {
        GateRed::new_err(words)
    } else if is(CORPUS_HELD) {
        CorpusHeld::new_err(words)
    } else if is(INTERRUPTED) {
        PyKeyboardInterrupt::new_err(words)
    } else {
        TuwenError::new_err(words)
    };
    with_reports(py, raised, tuwen::cli::reports(error))
}

/// `raised`, whose `reports` are those of stages, as JSON.
pub(crate) fn with_reports(py: Python<'_>, raised: PyErr, reports: &[StageReport]) -> PyErr {
    let reports = serde_json::to_string(reports).unwrap_or_default();
    // An exception that takes no attribute still says what happened.
    let _ = raised.value(py).setattr("reports", reports);
    raised
}
