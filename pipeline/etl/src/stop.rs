//! How a run is ended from outside. In: SIGINT (Ctrl-C) and SIGTERM, or the token of a program whose signals are its own. Out: a
//! token that is cancelled.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit_code::INTERRUPTED;

tokio::task_local! {
    /// What ends a future in place of signals.
    static STOP: CancellationToken;
}

/// `future`, which `stop` ends as a signal would: no handler is set in it, and what it is told to stop by follows `stop`.
pub fn without_signals<F: Future>(
    stop: CancellationToken,
    future: F,
) -> impl Future<Output = F::Output> {
    STOP.scope(stop, future)
}

/// A token that the first SIGINT or SIGTERM cancels, after which a stage ends its chunk; the second ends the process.
///
/// # Errors
/// No handler can be set.
pub fn stop_signals() -> Result<CancellationToken> {
    stop_signals_saying("stopping after the chunk under way; again to stop at once")
}

/// As [`stop_signals`]; the first signal `says` what happens now.
///
/// # Errors
/// No handler can be set.
pub fn stop_signals_saying(says: &'static str) -> Result<CancellationToken> {
    if let Ok(given) = STOP.try_with(CancellationToken::clone) {
        let stop = given.child_token();
        tokio::spawn(async move {
            given.cancelled().await;
            tracing::warn!("{says}");
        });
        return Ok(stop);
    }
    let stop = CancellationToken::new();
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let cancel = stop.clone();
    tokio::spawn(async move {
        for nth in 0.. {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            }
            if nth > 0 {
                std::process::exit(i32::from(INTERRUPTED));
            }
            cancel.cancel();
            tracing::warn!("{says}");
        }
    });
    Ok(stop)
}
