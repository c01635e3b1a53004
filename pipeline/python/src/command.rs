//! The stages, and the command `tuwen`. In: arguments as the command has them. Out: reports as JSON, or an exit code. Never
//! arguments of its own.

use std::ffi::OsString;
use std::process::ExitCode;

use pyo3::prelude::*;

use crate::error::of_command;
use crate::home::start_threads;

/// The command: the code to exit with. Help, and arguments that are wrong, end the process.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    let code = py.detach(|| tuwen::cli::main_of(&arguments));
    (0..=u8::MAX).find(|&n| ExitCode::from(n) == code).unwrap_or(1)
}

/// Runs the stages of a command; the reports as JSON, and whether a signal has ended them.
#[pyfunction]
pub(crate) fn stages(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<(String, bool)> {
    let run = || -> anyhow::Result<(String, bool)> {
        start_threads()?;
        let ended = tuwen::cli::stages_of(&arguments)?;
        Ok((serde_json::to_string(&ended.reports)?, ended.is_interrupted))
    };
    py.detach(run).map_err(|error| of_command(py, &error))
}
