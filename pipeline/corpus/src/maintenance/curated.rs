//! Which audits can be asked. In: the last run of curate, and the versions of now. Out: the audits'
//! rows, where they say something: those between `examples` and what it is made from are red
//! wherever something was fetched since, and that is no damage.

use std::collections::BTreeSet;

use anyhow::Result;
use datafusion::prelude::{DataFrame, SessionContext};
use serde_json::Value;

use crate::last_run::LastRun;
use crate::query::frame;
use crate::snapshot::Snapshot;

/// The tables that `examples` is made from.
pub(super) const SOURCES: [&str; 3] = ["pairs", "originals", "images"];

/// How `examples` stands to the tables that it is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curated {
    /// It is what they say.
    UpToDate,
    /// They have other rows than when it was made.
    SourcesMoved,
    /// Another than curate has written it, or nobody has: the next curate makes it anew.
    Outdated,
}

impl Curated {
    /// Whether an audit that reads `tables` can be asked.
    pub(crate) fn can_ask(self, tables: &[&str]) -> bool {
        match self {
            Self::UpToDate => true,
            Self::SourcesMoved => tables == ["examples"] || !tables.contains(&"examples"),
            Self::Outdated => !tables.contains(&"examples"),
        }
    }
}

/// How `examples` stands in `snapshot`, `last` being the last run of curate.
///
/// # Errors
/// A log cannot be read.
pub(crate) async fn curated(snapshot: &Snapshot, last: Option<&LastRun>) -> Result<Curated> {
    let Some(last) = last else { return Ok(Curated::Outdated) };
    Ok(if !has_same_files(snapshot, last, &["examples"]).await? {
        Curated::Outdated
    } else if !has_same_files(snapshot, last, &SOURCES).await? {
        Curated::SourcesMoved
    } else {
        Curated::UpToDate
    })
}

/// Whether tables `names` have the files that `last` left, whatever commits came since.
async fn has_same_files(
    snapshot: &Snapshot,
    last: &LastRun,
    names: &[&'static str],
) -> Result<bool> {
    let new = snapshot.files_since(&last.versions, names).await?;
    Ok(new.is_some_and(|new| new.values().all(BTreeSet::is_empty)))
}

/// Tokens that curate kept of a caption at most when it ran last; as many as there can be, if that
/// is not known.
pub(crate) fn max_length(last: Option<&LastRun>) -> i64 {
    let settings: Option<Value> = last.and_then(|last| serde_json::from_str(&last.settings).ok());
    settings.and_then(|all| all["settings"]["max_length"].as_i64()).unwrap_or(i64::MAX)
}

/// The rows of an audit of sql/audits/.
///
/// # Errors
/// The audit does not plan.
pub(crate) async fn ask(
    ctx: &SessionContext,
    (name, text): (&str, &str),
    last: Option<&LastRun>,
) -> Result<DataFrame> {
    let file = format!("audits/{name}");
    if text.contains("$max_length") {
        return frame(ctx, &file, text, [("max_length", max_length(last).into())]).await;
    }
    frame(ctx, &file, text, []).await
}

/// The tables that a SQL file reads, by the line of its header that says so.
pub(crate) fn tables_of(text: &str) -> Vec<&str> {
    let reads = text.lines().find_map(|line| line.strip_prefix("-- reads: "));
    reads.unwrap_or_default().split(", ").map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use tuwen_schemas::TABLES;

    use super::*;
    use crate::audits::AUDITS;

    #[test]
    fn every_audit_says_which_tables_it_reads() {
        for (name, text) in AUDITS {
            let tables = tables_of(text);
            assert!(!tables.is_empty(), "{name}");
            for read in tables {
                assert!(TABLES.iter().any(|table| table.name == read), "{name} reads {read}");
            }
        }
    }

    #[test]
    fn audits_are_asked_where_they_must_hold() {
        for (tables, expected) in [
            (&["images", "originals"][..], [true, true, true]),
            (&["examples"], [true, true, false]),
            (&["pairs", "examples"], [true, false, false]),
        ] {
            let asked = [Curated::UpToDate, Curated::SourcesMoved, Curated::Outdated]
                .map(|curated| curated.can_ask(tables));
            assert_eq!(asked, expected, "{tables:?}");
        }
    }
}
