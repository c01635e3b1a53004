//! What a repair has done. In: counts. Out: the report for people and scripts, and the row of `runs`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::curated::{Curated, SOURCES};
use crate::report::{Outcome, StageReport};

/// What was done to a table, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepairedTable {
    /// Its rows before, by the log.
    pub rows_before: u64,
    /// Its rows after.
    pub rows_after: u64,
    /// Rows that went, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Rows that got another number.
    pub renumbered: u64,
    /// Files that were written anew, or left the table.
    pub files: u64,
    /// Whether `delta.appendOnly` was not as the table was made.
    pub append_only: bool,
    /// Whether the next curate makes the table anew.
    pub outdated: bool,
}

impl RepairedTable {
    /// Whether nothing was done.
    pub fn is_untouched(&self) -> bool {
        self.files == 0 && !self.append_only
    }
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct RepairReport {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The run's id in `runs`; empty if nothing was done.
    pub run_id: String,
    /// All tables.
    pub tables: BTreeMap<&'static str, RepairedTable>,
    /// Commits made, over all tables.
    pub commits: u64,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// The row of `runs`: rows of the tables that were changed.
pub(super) fn stage_report(report: &RepairReport, error: Option<&anyhow::Error>) -> StageReport {
    let mut stage = StageReport::new("repair");
    stage.outcome = report.outcome;
    stage.error = error.map(|error| format!("{error:#}"));
    stage.commits = report.commits;
    for table in report.tables.values().filter(|table| !table.is_untouched()) {
        stage.rows_in += table.rows_before;
        stage.rows_out += table.rows_after;
        for (why, n) in &table.dropped {
            *stage.rejected.entry((*why).to_owned()).or_default() += n;
        }
    }
    stage
}

/// How `examples` stands once `tables` are repaired, which a dry run has not done.
pub(super) fn as_mended(
    curated: Curated,
    tables: &BTreeMap<&'static str, RepairedTable>,
) -> Curated {
    let is_touched = |name: &str| tables.get(name).is_some_and(|table| table.files > 0);
    if is_touched("examples") {
        return Curated::Outdated;
    }
    match curated {
        Curated::UpToDate if SOURCES.into_iter().any(is_touched) => Curated::SourcesMoved,
        curated => curated,
    }
}
