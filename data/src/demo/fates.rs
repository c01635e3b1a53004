//! Whether every row ended where it should. In: the corpus and the truth about its rows. Out: counts, or an error that lists
//! the rows that did not. Never looks into the corpus but through `tuwen sql`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tuwen_sample::corpus::Truth;

use super::command::Tuwen;

const FATES: &str = "select source, source_line, split, examples.reject_reason as reject_reason, \
    examples.text as text, images.reject_reason as image_reject \
    from pairs left join examples on example_id = pair_id \
    left join images on images.image_id = examples.image_id";

/// Mismatches that an error lists.
const LISTED: usize = 20;

/// A row's end.
#[derive(Deserialize)]
struct Row {
    source: String,
    source_line: u64,
    split: Option<String>,
    reject_reason: Option<String>,
    text: Option<String>,
    image_reject: Option<String>,
}

/// How many rows there are, and how many are in a split.
pub(super) struct Fates {
    pub(super) pairs: usize,
    pub(super) examples: usize,
}

/// Compares every row of the corpus with the truth.
///
/// # Errors
/// A row is missing, too many, or ended elsewhere.
pub(super) fn check(tuwen: &Tuwen, corpus: &str, truths: &[Truth]) -> Result<Fates> {
    let json = tuwen.output(&["sql", FATES, "--corpus", corpus, "--format", "json"])?;
    let rows: Vec<Row> = serde_json::from_str(&json).context("tuwen sql: rows of the fates")?;
    let key = |row: &Row| (row.source.clone(), row.source_line);
    let mut by_line: BTreeMap<(String, u64), &Row> =
        rows.iter().map(|row| (key(row), row)).collect();
    let mut wrong: Vec<String> = Vec::new();
    for truth in truths {
        let place =
            format!("{} line {} ({}, {})", truth.source, truth.line, truth.case, truth.file);
        match by_line.remove(&(truth.source.clone(), truth.line)) {
            Some(row) => {
                let (expected, found) = (expected(truth), found(row, truth));
                if expected != found {
                    wrong.push(format!("{place}: expected {expected}, found {found}"));
                }
            }
            None => wrong.push(format!("{place}: expected a row, found none")),
        }
    }
    let left = by_line
        .keys()
        .map(|(source, line)| format!("{source} line {line}: expected no row, found one"));
    wrong.extend(left);
    if !wrong.is_empty() {
        let listed = wrong.iter().take(LISTED).cloned().collect::<Vec<_>>().join("\n  ");
        bail!("{} rows did not end where they should:\n  {listed}", wrong.len());
    }
    Ok(Fates { pairs: rows.len(), examples: rows.iter().filter(|row| row.split.is_some()).count() })
}

fn expected(truth: &Truth) -> String {
    match (truth.image_reject, truth.fate.starts_with("rejected:")) {
        // The demo fetches over HTTP: what a server sends in the place of a picture is seen then, and never comes to decode.
        (Some("not_an_image" | "empty"), _) => "rejected:fetch_failed".to_owned(),
        (Some(reason), _) => format!("{} ({reason})", truth.fate),
        (None, true) => truth.fate.clone(),
        (None, false) => format!("{} `{}`", truth.fate, truth.caption),
    }
}

fn found(row: &Row, truth: &Truth) -> String {
    let fate = match (&row.split, &row.reject_reason) {
        (Some(split), None) => split.clone(),
        (None, Some(reason)) => format!("rejected:{reason}"),
        (split, reason) => format!("split {split:?} and reject_reason {reason:?}"),
    };
    match (&row.image_reject, row.split.is_some()) {
        (Some(reason), _) if truth.image_reject.is_some() => format!("{fate} ({reason})"),
        (_, true) => format!("{fate} `{}`", row.text.as_deref().unwrap_or_default()),
        (_, false) => fate,
    }
}
