//! `tuwen migrate`: a corpus of an older tuwen brought up to date.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::maintenance::{Migration, migrate, migrations};
use tuwen_corpus::report::{Outcome, StageReport};
use tuwen_corpus::{Corpus, Run, Snapshot};

use crate::cli::exit;
use crate::cli::flags::CorpusFlags;
use crate::cli::hold::Holding;
use crate::cli::print::print;

/// Bring the tables up to the newest version of their contracts
///
/// Adds columns that came since the corpus was made (rows that are there have null in them), sets
/// properties, and makes tables that older corpora lack. No file is rewritten. A corpus that is not
/// migrated works as well; new columns are null then, in new rows too.
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen migrate --dry-run
  tuwen migrate")]
pub(super) struct Migrate {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Make tables that are gone anew, empty: what they held is lost, and asked for again where that can be
    #[arg(long)]
    make_missing: bool,
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Migrate {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.corpus.settings(Vec::new())?;
        let corpus = match self.make_missing {
            true => Corpus::open_incomplete(&settings.corpus).await?,
            false => Corpus::open(&settings.corpus).await?,
        };
        let (all, outcome) = match self.dry_run {
            true => (planned(&corpus).await?.1, Outcome::Ok),
            false => {
                let work = async |stop: &CancellationToken| done(&corpus, stop).await;
                self.holding.hold(&corpus, "migrate", work).await?
            }
        };
        let report = json!({ "dry_run": self.dry_run, "outcome": outcome, "migrations": all });
        print(self.holding.json, &report, &text(&all, self.dry_run))?;
        Ok(exit::of_outcome(outcome))
    }
}

/// What is to be done, which is said.
async fn planned(corpus: &Corpus) -> Result<(Snapshot, Vec<Migration>)> {
    let snapshot = corpus.snapshot().await?;
    let all = migrations(&snapshot)?;
    for migration in &all {
        tracing::info!("{}", migration.text());
    }
    Ok((snapshot, all))
}

/// Does it until `stop` is cancelled, and records the run: what is done, and how it ended.
async fn done(corpus: &Corpus, stop: &CancellationToken) -> Result<(Vec<Migration>, Outcome)> {
    let (mut snapshot, mut all) = planned(corpus).await?;
    let run = Run::start("migrate", &snapshot);
    let mut report = StageReport::new("migrate");
    let author = run.author().clone();
    let mut failed = None;
    for migration in &all {
        if stop.is_cancelled() {
            report.outcome = Outcome::Interrupted;
            break;
        }
        if let Err(error) = Box::pin(migrate(corpus, &mut snapshot, migration, &author)).await {
            report.outcome = Outcome::Failed;
            report.error = Some(format!("{error:#}"));
            failed = Some(error);
            break;
        }
        report.commits += 1;
    }
    all.truncate(report.commits as usize);
    let settings = json!({ "migrations": all });
    let recorded = Box::pin(run.finish(&mut snapshot, report, &settings)).await;
    failed.map_or_else(|| recorded.map(|report| (all, report.outcome)), Err)
}

fn text(all: &[Migration], dry_run: bool) -> String {
    match (all.len(), dry_run) {
        (0, _) => "nothing to migrate: all tables are up to date".to_owned(),
        (n, true) => format!("{n} tables would be migrated; nothing was written"),
        (n, false) => format!("{n} tables migrated"),
    }
}
