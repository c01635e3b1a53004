//! What `tuwen verify` has to say. In: findings. Out: the report, for people and as JSON. Never looks
//! at a table.

use std::fmt::Write as _;

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;

/// Orphans of a table that are named to people.
const SHOWN_ORPHANS: usize = 10;

/// What can be wrong with a corpus: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A table is not there.
    MissingTable,
    /// A file that the log names is not there.
    MissingFile,
    /// A file has another size than the log says.
    WrongSize,
    /// A file, or a row group of it, cannot be read.
    Unreadable,
    /// A file has more or fewer rows than the log says.
    WrongRowCount,
    /// Pixels are not those that were written.
    DamagedPixels,
    /// Picture files are not those that were got.
    DamagedBytes,
    /// Several rows have the same key.
    DuplicateKeys,
    /// Several rows have the same number.
    DuplicateNumbers,
    /// An audit returns rows.
    FailedAudit,
    /// A table lets rows be taken away that it was made to keep, or the other way round.
    AppendOnly,
}

impl Kind {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingTable => "missing_table",
            Self::MissingFile => "missing_file",
            Self::WrongSize => "wrong_size",
            Self::Unreadable => "unreadable",
            Self::WrongRowCount => "wrong_row_count",
            Self::DamagedPixels => "damaged_pixels",
            Self::DamagedBytes => "damaged_bytes",
            Self::DuplicateKeys => "duplicate_keys",
            Self::DuplicateNumbers => "duplicate_numbers",
            Self::FailedAudit => "failed_audit",
            Self::AppendOnly => "append_only",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// The table; for an audit the first of those that it reads.
    pub table: String,
    /// What exactly, with an example.
    pub what: String,
    /// How many files or rows.
    pub n: u64,
    /// What mends it.
    pub hint: String,
}

/// Something that is not wrong, but good to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The table.
    pub table: String,
    /// What.
    pub what: String,
    /// What can be done about it.
    pub hint: String,
}

/// Files of a table's folder that no version of the last 30 days has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Orphans {
    /// The table.
    pub table: &'static str,
    /// The files, below the table's folder.
    pub files: Vec<String>,
    /// Their size in all.
    pub bytes: u64,
}

/// A table as it was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableState {
    /// Its name.
    pub table: &'static str,
    /// Its version.
    pub version: i64,
    /// Its files.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Its rows, by the log.
    pub rows: u64,
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct VerifyReport {
    /// Whether nothing is wrong.
    pub whole: bool,
    /// Whether all pages were read, not only footers.
    pub full: bool,
    /// The tables.
    pub tables: Vec<TableState>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is good to know.
    pub notes: Vec<Note>,
    /// What `tuwen vacuum` deletes. Nothing is wrong with a corpus that has such files.
    pub orphans: Vec<Orphans>,
    /// Wall time in seconds.
    pub seconds: f64,
}

impl VerifyReport {
    /// The report for people.
    pub fn text(&self) -> String {
        let mut text =
            format!("{:<10}{:>9}{:>8}{:>12}{:>14}\n", "table", "version", "files", "size", "rows");
        for table in &self.tables {
            let _ = writeln!(
                text,
                "{:<10}{:>9}{:>8}{:>12}{:>14}",
                table.table,
                table.version,
                HumanCount(table.files).to_string(),
                HumanBytes(table.bytes).to_string(),
                HumanCount(table.rows).to_string()
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "\nnote: {}: {}", note.table, note.what);
            if !note.hint.is_empty() {
                let _ = writeln!(text, "hint: {}", note.hint);
            }
        }
        for Orphans { table, files, bytes } in &self.orphans {
            let (n, bytes) = (files.len(), HumanBytes(*bytes));
            let _ = writeln!(
                text,
                "\norphans: {table}: {n} files ({bytes}) that no version of the last 30 days has"
            );
            for file in files.iter().take(SHOWN_ORPHANS) {
                let _ = writeln!(text, "  {file}");
            }
            if n > SHOWN_ORPHANS {
                let _ = writeln!(text, "  and {} more, all of them in --json", n - SHOWN_ORPHANS);
            }
            let _ = writeln!(text, "hint: tuwen vacuum");
        }
        for finding in &self.findings {
            let Finding { kind, table, what, hint, .. } = finding;
            let _ = writeln!(text, "\n{}: {table}: {what}", kind.name());
            if !hint.is_empty() {
                let _ = writeln!(text, "hint: {hint}");
            }
        }
        let looked = if self.full { "every page" } else { "footers, keys and audits" };
        let _ = match self.findings.len() {
            0 => write!(text, "\nwhole: {looked} in {:.1} s", self.seconds),
            1 => write!(text, "\ndamaged: 1 finding in {:.1} s", self.seconds),
            n => write!(text, "\ndamaged: {n} findings in {:.1} s", self.seconds),
        };
        text
    }
}
