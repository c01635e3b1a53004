//! `tuwen history`: what ran, and how it ended.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use indicatif::HumanCount;
use tuwen_corpus::Corpus;
use tuwen_corpus::maintenance::{PastRun, history};

use crate::cli::flags::CorpusFlags;
use crate::cli::print::print;

/// Columns of a terminal that a line may take.
const WIDTH: usize = 120;

/// Characters of a run's id that tell it from others: the milliseconds of its start.
const ID_CHARS: usize = 13;

/// Reasons named in a line; the others are counted.
const REASONS: usize = 3;

/// List the runs of all stages, the newest first
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen history
  tuwen history -n 5 --failed
  tuwen history --json | jq '.[0].error'
  tuwen sql -f sql/queries/history.sql")]
pub(super) struct History {
    /// How many
    #[arg(short, long = "runs", value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    n: u64,
    /// Only runs that failed, were interrupted, or met a red gate
    #[arg(long)]
    failed: bool,
    /// Print an array of JSON objects
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl History {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.corpus.settings(Vec::new())?;
        let (_, snapshot) = Corpus::open_snapshot(&settings.corpus).await?;
        let runs = Box::pin(history(&snapshot, self.n as usize, self.failed)).await?;
        print(self.json, &runs, &text(&runs, self.failed))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(runs: &[PastRun], failed_only: bool) -> String {
    if runs.is_empty() {
        return if failed_only { "no failed runs" } else { "no runs yet" }.to_owned();
    }
    let mut lines = vec![format!(
        "{:<14}{:<9}{:<18}{:>7}  {:<12}{:>11}{:>11}{:>11}  reasons",
        "run", "stage", "started (UTC)", "took", "outcome", "rows in", "good", "rejected"
    )];
    for run in runs {
        let id: String = run.run_id.chars().take(ID_CHARS).collect();
        let n_rejected: i64 = run.rows_rejected.values().sum();
        let line = format!(
            "{id:<14}{:<9}{:<18}{:>7}  {:<12}{:>11}{:>11}{:>11}  {}",
            run.stage,
            run.started.format("%Y-%m-%d %H:%M").to_string(),
            took(run.seconds),
            run.outcome,
            count(run.rows_in),
            count(run.rows_out),
            count(n_rejected),
            reasons(run)
        );
        lines.push(cut(line.trim_end(), WIDTH));
        if let Some(error) = &run.error {
            let error: Vec<&str> = error.split_whitespace().collect();
            lines.push(cut(&format!("{:14}{}", "", error.join(" ")), WIDTH));
        }
    }
    lines.join("\n")
}

fn count(n: i64) -> String {
    HumanCount(n.unsigned_abs()).to_string()
}

/// The reasons with the most rows.
fn reasons(run: &PastRun) -> String {
    let mut all: Vec<(&String, &i64)> = run.rows_rejected.iter().collect();
    all.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let mut said: Vec<String> =
        all.iter().take(REASONS).map(|(reason, n)| format!("{reason} {n}")).collect();
    if all.len() > REASONS {
        said.push(format!("+{}", all.len() - REASONS));
    }
    said.join(", ")
}

/// `0.4s`, `1m02s`, `3h20m`.
fn took(seconds: f64) -> String {
    if seconds < 59.95 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
    }
}

/// `text`, cut where it is longer than `width` characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (seconds, expected) in [
            (0.04, "0.0s"),
            (59.94, "59.9s"),
            (59.97, "1m00s"),
            (62.0, "1m02s"),
            (3599.0, "59m59s"),
            (12_000.0, "3h20m"),
        ] {
            assert_eq!(took(seconds), expected);
        }
    }

    #[test]
    fn a_run_is_a_line_of_a_terminal_and_its_error_another() {
        let reasons = [("leak", 7), ("empty_caption", 70), ("long_caption", 7), ("near", 1)];
        let run = PastRun {
            run_id: "0199a1b2-c3d4-7000-8000-000000000000".to_owned(),
            stage: "curate".to_owned(),
            started: chrono::DateTime::from_timestamp(1_760_000_000, 0).unwrap(),
            seconds: 62.3,
            outcome: "gate".to_owned(),
            rows_in: 12_345_678,
            rows_out: 12_345_593,
            rows_rejected: reasons.map(|(reason, n)| (reason.to_owned(), n)).into(),
            error: Some(format!("max_rejected_percent:\nhint: {}", "红".repeat(200))),
            commits: None,
            versions_written: [].into(),
            tuwen_version: "0.1.0".to_owned(),
        };
        let text = text(&[run], false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "0199a1b2-c3d4 curate   2025-10-09 08:53    1m02s  gate         12,345,678 12,345,593         85  empty_caption 70, leak…"
        );
        assert!(lines[2].starts_with("              max_rejected_percent: hint: 红"));
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
    }
}
