//! The stages, and the command `tuwen`. In: arguments as the command has them. Out: reports as JSON, or an exit code. Never
//! arguments of its own, nor, beside the command, signals of its own.

use std::ffi::OsString;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::error::{exception, of_command, with_reports};
use crate::home::{LOOK_EVERY, start_threads};

/// What a main thread mostly has: queries are planned on the stack.
const STACK_BYTES: usize = 8 << 20;

/// The command: the code to exit with. Help, and arguments that are wrong, end the process.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    let code = py.detach(|| tuwen::cli::main_of(&arguments));
    (0..=u8::MAX).find(|&n| ExitCode::from(n) == code).unwrap_or(1)
}

/// Runs the stages of a command, on a thread, since only this one learns of signals; the reports as JSON, and whether there is more
/// to do. What Python raises at a signal (`KeyboardInterrupt`) ends the stages after the chunk under way, and is then raised with
/// their reports; a second one does not wait for that.
#[pyfunction]
pub(crate) fn stages(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<(String, bool)> {
    start_threads().map_err(|error| of_command(py, &error))?;
    let stop = CancellationToken::new();
    let (running, ended) = mpsc::channel::<()>();
    let run = {
        let stop = stop.clone();
        move || {
            // Carries nothing: it closes when the stages end, or panic.
            let _running = running;
            tuwen::cli::stages_of(&arguments, stop)
        }
    };
    let thread = std::thread::Builder::new().name("stages".to_owned()).stack_size(STACK_BYTES);
    let thread = thread.spawn(run)?;
    let ended = Mutex::new(ended);
    let go_on = || {
        let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout)
    };
    let mut raised = None;
    while py.detach(go_on) {
        if let Err(error) = py.check_signals() {
            if raised.is_some() {
                return Err(error);
            }
            stop.cancel();
            raised = Some(error);
        }
    }
    let ended = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
    match (ended, raised) {
        (Ok(ended), None) => {
            let reports = serde_json::to_string(&ended.reports);
            Ok((reports.map_err(|error| exception(&error.into()))?, ended.is_interrupted))
        }
        (Ok(ended), Some(raised)) => Err(with_reports(py, raised, &ended.reports)),
        (Err(error), None) => Err(of_command(py, &error)),
        (Err(error), Some(raised)) => {
            raised.set_cause(py, Some(of_command(py, &error)));
            Err(with_reports(py, raised, tuwen::cli::reports(&error)))
        }
    }
}
