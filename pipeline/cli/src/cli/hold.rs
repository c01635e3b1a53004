//! A command that writes to a corpus: its lease, the signals that end it, and what it prints and returns.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tuwen_corpus::report::{Outcome, StageReport, table};
use tuwen_corpus::{Asked, Corpus, Holder, Lease};
use tuwen_etl::driver::StageFailed;

use crate::cli::print::print;

/// A stage rejected more of its rows than the settings allow, or another gate was red.
pub(super) const GATE_RED: u8 = 3;

/// Another run holds the corpus.
pub(super) const CORPUS_HELD: u8 = 4;

/// Ended by SIGINT or SIGTERM: 128 + 2, as shells have it.
pub(super) const INTERRUPTED: u8 = 130;

/// How a command that writes waits, and how its summary is printed.
#[derive(Args)]
pub(super) struct Holding {
    /// Print the summary as one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// If another run holds the corpus, wait until it ends; with SECS, so long at most [default: exit with code 4]
    #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "31536000")]
    wait: Option<u64>,
    /// Begin although another run seems to hold the corpus: its lease is ignored, nothing is broken by it
    #[arg(long, hide = true)]
    ignore_lease: bool,
}

/// Who holds the corpus, as an error.
#[derive(Debug)]
pub(super) struct CorpusHeld(Holder);

impl CorpusHeld {
    /// Held by `holder`.
    pub(super) fn by(holder: Holder) -> Self {
        Self(holder)
    }
}

impl fmt::Display for CorpusHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the corpus is held by {}\nhint: --wait waits until it is free", self.0)
    }
}

impl std::error::Error for CorpusHeld {}

impl Holding {
    /// Does `work` under the lease of the ETL; SIGINT and SIGTERM cancel the token that it gets, and a second one ends the process
    /// at once. Prints the reports, also of a run that failed.
    pub(super) async fn run(
        &self,
        corpus: &Corpus,
        stage: &str,
        max_rejected_percent: f64,
        work: impl AsyncFnOnce(&CancellationToken, &mut Vec<StageReport>) -> Result<()>,
    ) -> Result<ExitCode> {
        let stop = stop_signals()?;
        let lease = self.lease(corpus, stage).await?;
        let mut reports = Vec::new();
        let result = work(&stop, &mut reports).await;
        if let Some(lease) = lease {
            lease.release().await;
        }
        if let Err(error) = &result
            && let Some(failed) = error.downcast_ref::<StageFailed>()
        {
            reports.push((*failed.report).clone());
        }
        if result.is_ok() || self.json {
            self.print(&reports)?;
        }
        result?;
        Ok(exit_code(&reports, max_rejected_percent))
    }

    /// Does `work` under the lease of the ETL, as [`Holding::run`] does, and prints nothing.
    pub(super) async fn hold<T>(
        &self,
        corpus: &Corpus,
        stage: &str,
        work: impl AsyncFnOnce(&CancellationToken) -> Result<T>,
    ) -> Result<T> {
        let stop = stop_signals()?;
        let lease = self.lease(corpus, stage).await?;
        let result = work(&stop).await;
        if let Some(lease) = lease {
            lease.release().await;
        }
        result
    }

    async fn lease(&self, corpus: &Corpus, stage: &str) -> Result<Option<Lease>> {
        if self.ignore_lease {
            return Ok(None);
        }
        let wait = Duration::from_secs(self.wait.unwrap_or(0));
        match Lease::ask(corpus, "etl", stage, wait).await? {
            Asked::Granted(lease) => Ok(Some(lease)),
            Asked::Held(holder) => Err(CorpusHeld(holder).into()),
        }
    }

    fn print(&self, reports: &[StageReport]) -> Result<()> {
        print(self.json, &serde_json::json!({ "stages": reports }), &table(reports))
    }
}

fn exit_code(reports: &[StageReport], max_rejected_percent: f64) -> ExitCode {
    if reports.iter().any(|report| report.outcome == Outcome::Interrupted) {
        eprintln!("interrupted: what is committed stays, the next run does the rest");
        return ExitCode::from(INTERRUPTED);
    }
    let mut code = ExitCode::SUCCESS;
    // Where examples were made, its gates have judged all rows.
    let judged = reports.iter().any(|report| report.stage == "curate");
    for report in reports.iter().filter(|_| !judged) {
        let percent = 100.0 * report.n_rejected() as f64 / report.rows_in.max(1) as f64;
        if percent > max_rejected_percent {
            eprintln!(
                "{}: {percent:.1} % of {} rows were rejected, max_rejected_percent is {max_rejected_percent}\n\
                 hint: tuwen sql \"select stage, reason, count(*) as n from rejects group by stage, reason\"",
                report.stage, report.rows_in
            );
            code = ExitCode::from(GATE_RED);
        }
    }
    code
}

/// A token that the first SIGINT or SIGTERM cancels; the second ends the process.
fn stop_signals() -> Result<CancellationToken> {
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
            eprintln!("stopping after the chunk under way; again to stop at once");
        }
    });
    Ok(stop)
}
