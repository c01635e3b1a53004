//! What an export came to. In: its manifest and what was done. Out: text for people, or JSON.

use std::collections::BTreeMap;

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use tuwen_corpus::TableVersions;
use tuwen_corpus::report::{Outcome, rate};

use super::options::{Format, Pictures};

/// What an export came to.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Whether all is there.
    pub(crate) outcome: Outcome,
    pub(crate) folder: String,
    pub(crate) format: Format,
    pub(crate) pictures: Pictures,
    /// Versions of all tables that were read.
    pub(crate) versions: TableVersions,
    /// By split.
    pub(crate) rows: BTreeMap<String, u64>,
    /// Pairs that were selected and have no picture.
    pub(crate) without_picture: u64,
    pub(crate) shards: usize,
    /// Those that this run has written.
    pub(crate) shards_written: usize,
    pub(crate) rows_written: u64,
    /// Bytes of the pictures that this run has written.
    pub(crate) bytes_written: u64,
    pub(crate) seconds: f64,
}

impl Summary {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![format!("{:<12}{:>12}", "split", "rows")];
        for (split, n) in &self.rows {
            lines.push(format!("{split:<12}{:>12}", HumanCount(*n).to_string()));
        }
        let version = self.versions.get("examples").copied().unwrap_or_default();
        lines.push(match self.shards_written {
            0 if self.outcome == Outcome::Ok => {
                format!("nothing to do: {} holds version {version} of examples", self.folder)
            }
            n => format!(
                "{n} of {} shards, {} pictures, {} in {:.1} s: {} pictures/s, {}/s; version {version} of examples in {}",
                self.shards,
                HumanCount(self.rows_written),
                HumanBytes(self.bytes_written),
                self.seconds,
                rate(self.rows_written as f64 / self.seconds),
                HumanBytes((self.bytes_written as f64 / self.seconds) as u64),
                self.folder
            ),
        });
        lines.join("\n")
    }
}
