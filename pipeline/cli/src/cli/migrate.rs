//! `tuwen migrate`: a corpus of an older tuwen brought up to date.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::json;
use tuwen_corpus::maintenance::{Migration, migrate, migrations};
use tuwen_corpus::{Corpus, Run};

use crate::cli::Common;
use crate::cli::hold::Holding;
use crate::cli::print::print;

/// Bring the tables up to the newest version of their contracts
///
/// Adds columns that came since the corpus was made (rows that are there have null in them), sets
/// properties, and makes tables that are missing. No file is rewritten. A corpus that is not
/// migrated works as well; new columns are null then, in new rows too.
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen migrate --dry-run
  tuwen migrate")]
pub(super) struct Migrate {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    common: Common,
}

impl Migrate {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.common.settings(Vec::new())?;
        let corpus = Corpus::open(&settings.corpus).await?;
        let all = self
            .holding
            .hold(&corpus, "migrate", async |_| {
                let mut snapshot = corpus.snapshot().await?;
                let all = migrations(&snapshot)?;
                for migration in &all {
                    eprintln!("{}", migration.text());
                }
                let author = Run::start("migrate", &snapshot).author().clone();
                for migration in all.iter().filter(|_| !self.dry_run) {
                    Box::pin(migrate(&corpus, &mut snapshot, migration, &author)).await?;
                }
                Ok(all)
            })
            .await?;
        let report = json!({ "dry_run": self.dry_run, "migrations": all });
        print(self.holding.json, &report, &text(&all, self.dry_run))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(all: &[Migration], dry_run: bool) -> String {
    match (all.len(), dry_run) {
        (0, _) => "nothing to migrate: all tables are up to date".to_owned(),
        (n, true) => format!("{n} tables would be migrated; nothing was written"),
        (n, false) => format!("{n} tables migrated"),
    }
}
