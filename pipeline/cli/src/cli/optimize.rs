//! `tuwen optimize`: fewer files, all of them in tuwen's layout.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tuwen_corpus::Corpus;
use tuwen_corpus::maintenance::{OptimizeReport, optimize};

use crate::cli::exit;
use crate::cli::flags::CorpusFlags;
use crate::cli::hold::Holding;
use crate::cli::print::print;

/// Join small files, and rewrite those that another program wrote
///
/// Rows stay as they are and in their order. Files of `images` and `originals` that another program
/// has written or compacted get tuwen's own layout again, which the stream reads fastest. Every
/// table gets a checkpoint of its log. Old files stay until `tuwen vacuum`, so that training runs
/// that are pinned to old versions go on.
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen optimize
  tuwen optimize && tuwen vacuum
  tuwen optimize --json | jq '.tables.images'")]
pub(super) struct Optimize {
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Optimize {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.corpus.settings(Vec::new())?;
        let corpus = Corpus::open(&settings.corpus).await?;
        let report = self
            .holding
            .hold(&corpus, "optimize", async |stop| Box::pin(optimize(&corpus, stop)).await)
            .await?;
        print(self.holding.json, &report, &text(&report))?;
        Ok(exit::of_outcome(report.outcome))
    }
}

fn text(report: &OptimizeReport) -> String {
    let mut lines = vec![format!(
        "{:<10}{:>14}{:>13}{:>11}{:>10}{:>14}{:>12}",
        "table", "files before", "files after", "rewritten", "foreign", "rows", "checkpoint"
    )];
    for (name, table) in &report.tables {
        lines.push(format!(
            "{name:<10}{:>14}{:>13}{:>11}{:>10}{:>14}{:>12}",
            table.files_before,
            table.files_after,
            table.rewritten,
            table.foreign,
            table.rows,
            table.checkpoint.map_or_else(|| "-".to_owned(), |version| version.to_string())
        ));
    }
    let n_foreign: u64 = report.tables.values().map(|table| table.foreign).sum();
    if n_foreign > 0 {
        lines.push(format!("{n_foreign} files were not in tuwen's layout; they are now"));
    }
    lines.push(match report.commits {
        0 => "nothing to join or rewrite".to_owned(),
        n => format!(
            "done in {n} commits and {:.1} s\nhint: `tuwen vacuum` deletes the old files when no recent version has them",
            report.seconds
        ),
    });
    lines.join("\n")
}
