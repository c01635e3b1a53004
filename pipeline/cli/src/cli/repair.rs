//! `tuwen repair`: mend what `tuwen verify` finds.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::Corpus;
use tuwen_corpus::maintenance::{Depth, RepairReport, Repairs, repair};
use tuwen_etl::stop::stop_signals;

use crate::cli::exit;
use crate::cli::flags::CorpusFlags;
use crate::cli::hold::Holding;
use crate::cli::print::print;

/// Mend what `tuwen verify` finds: rows that are there twice, damaged or lost
///
/// Of rows with one key the oldest stays (of attempts and images, the oldest that is good). Rows that
/// cannot be read or are not what was written are dropped, so that the next `tuwen run` fetches or decodes
/// them again. All other rows stay as they are. What is dropped is in the old versions of the tables
/// until `tuwen vacuum`.
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen repair --dry-run
  tuwen repair && tuwen run --tokenizer tokenizer.json
  tuwen repair --quick")]
pub(super) struct Repair {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Drop images whose picture files are lost as well; their pixels are whole
    #[arg(long)]
    drop_orphaned_images: bool,
    /// Read footers and keys only, as `tuwen verify` without --full: finds no damaged pixels
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Repair {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.corpus.settings(Vec::new())?;
        let corpus = Corpus::open(&settings.corpus).await?;
        let depth = if self.quick { Depth::Footers } else { Depth::Pages };
        let repairs = Repairs {
            depth,
            drop_orphaned_images: self.drop_orphaned_images,
            dry_run: self.dry_run,
        };
        let work = async |stop: &CancellationToken| Box::pin(repair(&corpus, repairs, stop)).await;
        let report = match self.dry_run {
            true => work(&stop_signals()?).await?,
            false => self.holding.hold(&corpus, "repair", work).await?,
        };
        print(self.holding.json, &report, &text(&report))?;
        Ok(exit::of_outcome(report.outcome))
    }
}

fn text(report: &RepairReport) -> String {
    let mut lines = vec![format!(
        "{:<10}{:>14}{:>14}{:>8}{:>12}",
        "table", "rows before", "rows after", "files", "renumbered"
    )];
    for (name, table) in &report.tables {
        lines.push(format!(
            "{name:<10}{:>14}{:>14}{:>8}{:>12}",
            table.rows_before, table.rows_after, table.files, table.renumbered
        ));
        let mut dropped: Vec<_> = table.dropped.iter().collect();
        dropped.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        lines.extend(dropped.iter().map(|(why, n)| format!("{n:>38}  dropped: {why}")));
        if table.append_only {
            lines.push(format!("{:40}property delta.appendOnly set as the table was made", ""));
        }
        if table.outdated {
            lines.push(format!("{:40}the next `tuwen curate` makes it anew", ""));
        }
    }
    let is_touched = report.tables.values().any(|table| !table.is_untouched());
    lines.push(match (is_touched, report.dry_run) {
        (false, _) => "nothing to repair".to_owned(),
        (true, true) => "this is what would be done; nothing was written".to_owned(),
        (true, false) => format!(
            "done in {} commits and {:.1} s{}",
            report.commits,
            report.seconds,
            hints(report)
        ),
    });
    lines.join("\n")
}

/// How what was dropped comes back, by table.
fn hints(report: &RepairReport) -> String {
    let of = |name: &str| report.tables.get(name).is_some_and(|table| !table.dropped.is_empty());
    let mut hints = String::new();
    if of("pairs") {
        hints += "\nhint: `tuwen run CSV` with all CSVs adds the pairs that were dropped";
    }
    if of("originals") || of("images") || of("examples") {
        hints += "\nhint: `tuwen run` fetches and decodes again what was dropped";
    }
    if of("captions") {
        hints += "\nhint: `tuwen caption --from-sql` writes the captions that were dropped";
    }
    if of("scores") {
        hints += "\nhint: `tuwen score` scores again the examples whose scores were dropped";
    }
    hints
}
