//! A command that writes to a corpus: its lease, the signals that end it, what its stages report, and how that is printed.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::report::{Outcome, StageReport, table};
use tuwen_corpus::{Asked, Corpus, Lease};
use tuwen_etl::driver::StageFailed;
use tuwen_etl::stop::stop_signals;

use crate::cli::exit::{self, CorpusHeld, Interrupted, RunFailed};
use crate::cli::print::print;

/// The longest that a command waits, in seconds: a year.
const LONGEST_WAIT_S: u64 = 365 * 24 * 3600;

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

/// The stages of a command, one after the other.
pub(super) struct Stages<'a> {
    command: &'a str,
    stop: &'a CancellationToken,
    lease: Option<&'a Lease>,
    reports: &'a mut Vec<StageReport>,
    /// Whether a stage was not begun because a signal had come.
    is_cut: bool,
}

/// What came of the stages of a command that did not fail.
pub struct Ended {
    /// Their reports, in order.
    pub reports: Vec<StageReport>,
    /// Whether a signal ended them, so that there is more to do.
    pub is_interrupted: bool,
    /// How the command was told to print them.
    json: bool,
}

impl Ended {
    /// Prints the reports. The exit code.
    pub(super) fn print(&self) -> Result<ExitCode> {
        let reports = &self.reports;
        print(self.json, &serde_json::json!({ "stages": reports }), &table(reports))?;
        Ok(match self.is_interrupted {
            true => exit::of_outcome(Outcome::Interrupted),
            false => ExitCode::SUCCESS,
        })
    }
}

impl Stages<'_> {
    /// Runs a stage, which those who ask for the lease are told, and keeps its report; not after a signal.
    ///
    /// # Errors
    /// Those of the stage.
    pub(super) async fn run(
        &mut self,
        name: &str,
        stage: impl Future<Output = Result<StageReport>>,
    ) -> Result<()> {
        if self.stop.is_cancelled() {
            self.is_cut = true;
            return Ok(());
        }
        if let Some(lease) = self.lease.filter(|_| self.command != name) {
            lease.enter(&format!("{}, stage {name}", self.command));
        }
        self.reports.push(stage.await?);
        Ok(())
    }
}

impl Holding {
    /// Does `work` under the lease of the ETL; SIGINT and SIGTERM cancel the token that it gets, and a second one ends the process
    /// at once. Gives the reports of the stages.
    ///
    /// # Errors
    /// [`RunFailed`] with the reports of the stages that were run, the last of which failed.
    pub(super) async fn run(
        &self,
        corpus: &Corpus,
        command: &str,
        work: impl AsyncFnOnce(&CancellationToken, &mut Stages<'_>) -> Result<()>,
    ) -> Result<Ended> {
        let (mut reports, mut is_cut) = (Vec::new(), false);
        let work = async |stop: &CancellationToken, lease: Option<&Lease>| {
            let mut stages = Stages { command, stop, lease, reports: &mut reports, is_cut: false };
            let worked = work(stop, &mut stages).await;
            is_cut = stages.is_cut;
            worked
        };
        let worked = self.under_lease(corpus, command, work).await;
        if let Err(error) = worked {
            if let Some(failed) = error.downcast_ref::<StageFailed>() {
                reports.push((*failed.report).clone());
            }
            return Err(RunFailed { reports, source: error }.into());
        }
        let is_interrupted = |report: &StageReport| report.outcome == Outcome::Interrupted;
        let is_interrupted = is_cut || reports.iter().any(is_interrupted);
        Ok(Ended { reports, is_interrupted, json: self.json })
    }

    /// Does `work` under the lease of the ETL, as [`Holding::run`] does, and prints nothing.
    pub(super) async fn hold<T>(
        &self,
        corpus: &Corpus,
        command: &str,
        work: impl AsyncFnOnce(&CancellationToken) -> Result<T>,
    ) -> Result<T> {
        self.under_lease(corpus, command, async |stop, _lease| work(stop).await).await
    }

    async fn under_lease<T>(
        &self,
        corpus: &Corpus,
        command: &str,
        work: impl AsyncFnOnce(&CancellationToken, Option<&Lease>) -> Result<T>,
    ) -> Result<T> {
        let stop = stop_signals()?;
        let lease = tokio::select! {
            lease = self.lease(corpus, command) => lease?,
            () = stop.cancelled() => return Err(Interrupted.into()),
        };
        let result = work(&stop, lease.as_ref()).await;
        if let Some(lease) = lease {
            lease.release().await;
        }
        result
    }

    async fn lease(&self, corpus: &Corpus, command: &str) -> Result<Option<Lease>> {
        if self.ignore_lease {
            return Ok(None);
        }
        let wait = Duration::from_secs(self.wait.unwrap_or(0).min(LONGEST_WAIT_S));
        match Lease::ask(corpus, "etl", command, wait).await? {
            Asked::Granted(lease) => Ok(Some(lease)),
            Asked::Held(holder) => Err(CorpusHeld(holder).into()),
        }
    }
}
