//! `tuwen vacuum`: delete files that no recent version has.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use tokio_util::sync::CancellationToken;
use tuwen_corpus::Corpus;
use tuwen_corpus::maintenance::{VacuumOptions, VacuumReport, pins_of, vacuum};
use tuwen_corpus::report::Outcome;
use tuwen_etl::stop::stop_signals;
use tuwen_settings::WrongSetting;

use crate::cli::age::{age_text, parse_age};
use crate::cli::exit;
use crate::cli::flags::CorpusFlags;
use crate::cli::hold::Holding;
use crate::cli::print::print;

/// Files younger than this may be of a run that is under way and has not committed them.
const SAFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Delete files that no version of the last 30 days has
///
/// Among them those that killed runs left, which no version has. Versions that were the newest at
/// some time within --older-than stay readable, and those that checkpoints given by --pinned-by
/// read. The logs (`_delta_log`) stay as they are.
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen vacuum --dry-run
  tuwen vacuum --pinned-by model --pinned-by old-model/checkpoint-9000
  tuwen vacuum --older-than 14d
  tuwen vacuum --older-than 0s --force   # only when nothing else runs on the corpus")]
pub(super) struct Vacuum {
    /// How long files stay that no version has any more: a number and s, m, h, d or w
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = parse_age)]
    older_than: Duration,
    /// Checkpoints of training runs, or folders with some: what they read stays
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pinned_by: Vec<PathBuf>,
    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Allow less than 7 days: a run under way would lose what it has not committed
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Vacuum {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.corpus.settings(Vec::new())?;
        if self.older_than < SAFE && !self.force {
            let wrong = format!(
                "--older-than: expected at least {}, found {}: a run under way would lose files that it has not committed\n\
                 hint: with --force it is done all the same, when nothing else runs on the corpus",
                age_text(SAFE),
                age_text(self.older_than)
            );
            return Err(WrongSetting(wrong).into());
        }
        let mut pins = Vec::new();
        for folder in &self.pinned_by {
            pins.extend(pins_of(folder)?);
        }
        let corpus = Corpus::open(&settings.corpus).await?;
        let options = VacuumOptions { older_than: self.older_than, pins, dry_run: self.dry_run };
        let work = async |stop: &CancellationToken| Box::pin(vacuum(&corpus, &options, stop)).await;
        let report = match self.dry_run {
            true => work(&stop_signals()?).await?,
            false => self.holding.hold(&corpus, "vacuum", work).await?,
        };
        print(self.holding.json, &report, &text(&report))?;
        Ok(exit::of_outcome(report.outcome))
    }
}

fn text(report: &VacuumReport) -> String {
    let mut lines = vec![format!(
        "{:<10}{:>10}{:>14}{:>16}  {}",
        "table", "files", "size", "oldest version", "pinned"
    )];
    for (name, table) in &report.tables {
        let pinned: Vec<String> = table.pinned.iter().map(ToString::to_string).collect();
        let line = format!(
            "{name:<10}{:>10}{:>14}{:>16}  {}",
            HumanCount(table.files).to_string(),
            HumanBytes(table.bytes).to_string(),
            table.oldest_version,
            pinned.join(", ")
        );
        lines.push(line.trim_end().to_owned());
    }
    let n: u64 = report.tables.values().map(|table| table.files).sum();
    let bytes = HumanBytes(report.tables.values().map(|table| table.bytes).sum());
    let since = report.kept_since.format("%Y-%m-%d %H:%M UTC");
    lines.push(match (n, report.dry_run) {
        (n, _) if report.outcome == Outcome::Interrupted => {
            format!("interrupted: {} of {n} files deleted", report.deleted)
        }
        (0, _) => {
            format!("nothing to delete: every file is of a version since {since}, or younger")
        }
        (n, true) => format!("{n} files, {bytes} would be deleted; nothing was"),
        (n, false) => format!("{n} files, {bytes} deleted in {:.1} s", report.seconds),
    });
    if report.scratch_files > 0 {
        let n = HumanCount(report.scratch_files);
        lines.push(match report.dry_run {
            true => format!("{n} scratch files of killed runs on a cluster would be deleted"),
            false => format!("{n} scratch files of killed runs on a cluster deleted"),
        });
    }
    lines.join("\n")
}
