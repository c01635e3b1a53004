//! What a person sees of a run. In: counts. Out: progress on stderr while it lasts, a summary table or one JSON object at
//! the end. Never decides anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::engine::{Parts, ShowParts};
use crate::log::BARS;
use crate::snapshot::TableVersions;

/// Between two log lines where stderr is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Between two texts beside a bar.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All that was to do is done.
    #[default]
    Ok,
    /// By an error.
    Failed,
    /// By a signal, after the chunk under way.
    Interrupted,
    /// A gate was red.
    Gate,
}

impl Outcome {
    /// Its name in `runs` and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Gate => "gate",
        }
    }
}

/// What a stage did.
#[derive(Clone, Debug, Serialize)]
pub struct StageReport {
    /// The run's id in `runs` and in Delta's commit info.
    pub run_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What it failed by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// ingest, fetch, decode, curate, caption or score.
    pub stage: &'static str,
    /// Rows the stage had to handle.
    pub rows_in: u64,
    /// Rows that came out good.
    pub rows_out: u64,
    /// Rows that came out rejected, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Rows the corpus had already.
    pub known: u64,
    /// Commits made, over all tables.
    pub commits: u64,
    /// When it began.
    pub started: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished: Option<DateTime<Utc>>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Delta versions of all tables when it began.
    pub versions_read: TableVersions,
    /// Those that were others when it ended.
    pub versions_written: TableVersions,
    /// What a person should know besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

impl StageReport {
    /// An empty report.
    pub fn new(stage: &'static str) -> Self {
        Self {
            run_id: String::new(),
            outcome: Outcome::Ok,
            error: None,
            started: None,
            finished: None,
            versions_read: TableVersions::new(),
            versions_written: TableVersions::new(),
            stage,
            rows_in: 0,
            rows_out: 0,
            rejected: BTreeMap::new(),
            known: 0,
            commits: 0,
            seconds: 0.0,
            hints: Vec::new(),
        }
    }

    /// Rejected rows of all reasons.
    pub fn n_rejected(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Rows that have come to something.
    pub fn n_handled(&self) -> u64 {
        self.rows_out + self.n_rejected() + self.known
    }
}

/// How a stage goes, beside its counts.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// For people.
    pub text: String,
    /// Percent of what was handled that is good.
    pub ok_percent: Option<f64>,
    /// Good pictures a second.
    pub images_per_sec: Option<f64>,
    /// Bytes that came a second.
    pub bytes_per_sec: Option<f64>,
}

/// What was said last beside a bar, and when.
#[derive(Clone, Debug, Default)]
struct Said {
    at: Option<Instant>,
    figures: Figures,
    parts: Option<Parts>,
}

impl Said {
    /// For people.
    fn text(&self) -> String {
        let figures = Some(self.figures.text.clone()).filter(|text| !text.is_empty());
        let parts = self.parts.map(|Parts { n_done, n_total }| {
            format!("{} of {} parts", HumanCount(n_done), HumanCount(n_total))
        });
        figures.into_iter().chain(parts).collect::<Vec<_>>().join(", ")
    }
}

/// Progress of one stage: a bar on a terminal, otherwise a line now and then.
#[derive(Clone, Debug)]
pub struct Progress {
    stage: &'static str,
    bar: ProgressBar,
    last_line: Option<Arc<Mutex<Instant>>>,
    said: Arc<Mutex<Said>>,
}

impl Progress {
    /// Shows `total` rows of `stage` going by.
    pub fn start(stage: &'static str, total: u64) -> Self {
        let bar = BARS.add(ProgressBar::new(total));
        let style = ProgressStyle::with_template(
            "{prefix:>7} [{bar:30}] {human_pos}/{human_len} {per_sec}, {eta} left {msg}",
        );
        bar.set_style(style.expect("the template is well formed").progress_chars("=> "));
        bar.set_prefix(stage);
        let last_line = bar.is_hidden().then(|| Arc::new(Mutex::new(Instant::now())));
        Self { stage, bar, last_line, said: Arc::default() }
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self { stage: "", bar: ProgressBar::hidden(), last_line: None, said: Arc::default() }
    }

    /// `n` more rows are done.
    pub fn add(&self, n: u64) {
        self.bar.inc(n);
        self.log();
    }

    /// `n` rows are done at least: those that other machines compute are not added one by one.
    pub fn reach(&self, n: u64) {
        let n = n.min(self.bar.length().unwrap_or(n));
        self.add(n.saturating_sub(self.bar.position()));
    }

    /// Says in a line how far it is, where there is no bar and the last line is long ago.
    fn log(&self) {
        let Some(last_line) = &self.last_line else { return };
        let mut last_line = last_line.lock().unwrap_or_else(PoisonError::into_inner);
        if last_line.elapsed() >= LOG_EVERY {
            *last_line = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let stage = self.stage;
            let said = self.said().clone();
            let text = said.text();
            let text = if text.is_empty() { text } else { format!(", {text}") };
            let Said { figures, parts, .. } = said;
            tracing::info!(
                stage,
                done,
                total,
                ok_percent = figures.ok_percent,
                images_per_sec = figures.images_per_sec,
                bytes_per_sec = figures.bytes_per_sec,
                parts_done = parts.map(|parts| parts.n_done),
                parts_total = parts.map(|parts| parts.n_total),
                "{stage}: {} of {}{text}",
                HumanCount(done),
                HumanCount(total)
            );
        }
    }

    /// Shows `figures` beside the counts, when it is time for new ones.
    pub fn say(&self, figures: impl FnOnce() -> Figures) {
        let mut said = self.said();
        if said.at.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            said.at = Some(Instant::now());
            said.figures = figures();
            self.bar.set_message(said.text());
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl ShowParts for Progress {
    fn show_parts(&self, parts: Option<Parts>) {
        // Something may be computed after the last row.
        if self.bar.is_finished() {
            return;
        }
        let mut said = self.said();
        said.parts = parts;
        self.bar.set_message(said.text());
        drop(said);
        self.log();
    }
}

/// The summary table of a run, one line a stage and one line a reason.
pub fn table(reports: &[StageReport]) -> String {
    let mut lines = vec![format!(
        "{:<8}{:>12}{:>12}{:>12}{:>12}{:>10}{:>12}",
        "stage", "rows in", "good", "rejected", "known", "seconds", "rows/s"
    )];
    for report in reports {
        let per_sec =
            if report.rows_in == 0 { 0.0 } else { report.rows_in as f64 / report.seconds };
        lines.push(format!(
            "{:<8}{:>12}{:>12}{:>12}{:>12}{:>10.1}{:>12}",
            report.stage,
            HumanCount(report.rows_in).to_string(),
            HumanCount(report.rows_out).to_string(),
            HumanCount(report.n_rejected()).to_string(),
            HumanCount(report.known).to_string(),
            report.seconds,
            rate(per_sec)
        ));
        let mut reasons: Vec<_> = report.rejected.iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        for (reason, count) in reasons {
            lines.push(format!("{:>44}  {reason}", HumanCount(*count).to_string()));
        }
    }
    lines.extend(
        reports.iter().flat_map(|report| &report.hints).map(|hint| format!("hint: {hint}")),
    );
    if reports.iter().all(|report| report.commits == 0) {
        lines.push("nothing new: nothing was committed".to_owned());
    }
    lines.join("\n")
}

/// A rate in words: with two digits at least, since a slow one is not none.
pub fn rate(per_sec: f64) -> String {
    let decimals = match per_sec {
        10.0.. => 0,
        1.0.. => 1,
        0.1.. => 2,
        0.001.. => 3,
        _ => 0,
    };
    format!("{per_sec:.decimals$}")
}

/// The same as one JSON object.
///
/// # Errors
/// Never for these types; serde's signature has them.
pub fn json(reports: &[StageReport]) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&serde_json::json!({ "stages": reports }))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_rate_is_not_printed_as_none() {
        for (per_sec, expected) in [
            (1234.5, "1234"),
            (10.4, "10"),
            (9.96, "10.0"),
            (1.26, "1.3"),
            (0.31, "0.31"),
            (0.0123, "0.012"),
            (0.0, "0"),
        ] {
            assert_eq!(rate(per_sec), expected);
        }
    }

    #[test]
    fn parts_stand_beside_the_figures_as_long_as_they_run() {
        let progress = Progress::hidden();
        let parts = Some(Parts { n_done: 12, n_total: 1040 });
        progress.show_parts(parts);
        assert_eq!(progress.bar.message(), "12 of 1,040 parts");
        progress.say(|| Figures { text: "3 images/s".to_owned(), ..Figures::default() });
        assert_eq!(progress.bar.message(), "3 images/s, 12 of 1,040 parts");
        progress.show_parts(None);
        assert_eq!(progress.bar.message(), "3 images/s");
        progress.finish();
        progress.show_parts(parts);
        assert_eq!(progress.said().parts, None);
    }

    #[test]
    fn rows_that_were_added_are_not_reached_again() {
        let progress = Progress::start("decode", 10);
        progress.add(4);
        for (n, expected) in [(3, 4), (7, 7), (12, 10)] {
            progress.reach(n);
            assert_eq!(progress.bar.position(), expected);
        }
    }
}
