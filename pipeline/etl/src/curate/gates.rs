//! The gates: what must hold before `examples` is committed. In: the rows that are to be. Out: nothing, or the first gate that is
//! red. The audits of sql/audits hold whatever is forced; a person's own gates do not.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use tuwen_settings::Settings;

use crate::driver::RedGate;

/// Rows of a failed audit that are shown.
const SHOWN_ROWS: usize = 5;

/// Judges `reasons`, the rows of examples by reason ("" for those in a split), and the person's own audits on `ctx`, in which
/// `examples` has the rows that are to be.
///
/// # Errors
/// [`RedGate`]: too many rows are rejected, too few are not, or an own audit returned rows.
pub(super) async fn judge(
    ctx: &SessionContext,
    settings: &Settings,
    reasons: &BTreeMap<String, u64>,
) -> Result<()> {
    let n_rows: u64 = reasons.values().sum();
    let n_good = reasons.get("").copied().unwrap_or(0);
    let percent = 100.0 * (n_rows - n_good) as f64 / n_rows.max(1) as f64;
    if percent > settings.max_rejected_percent {
        let mut most: Vec<_> = reasons.iter().filter(|(reason, _)| !reason.is_empty()).collect();
        most.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let most: Vec<String> =
            most.iter().take(3).map(|(reason, n)| format!("{reason} {n}")).collect();
        return red(format!(
            "max_rejected_percent: expected at most {} % of {n_rows} pairs rejected, found {percent:.1} % ({})",
            settings.max_rejected_percent,
            most.join(", ")
        ));
    }
    if n_good < settings.curate.min_examples {
        return red(format!(
            "curate.min_examples: expected at least {} examples in splits, found {n_good}",
            settings.curate.min_examples
        ));
    }
    for (name, text) in own_audits(&settings.curate.audits)? {
        let rows = ctx.sql(&text).await.with_context(|| name.clone())?;
        let found =
            rows.limit(0, Some(SHOWN_ROWS))?.collect().await.with_context(|| name.clone())?;
        if found.iter().any(|batch| batch.num_rows() > 0) {
            return red(format!(
                "{name}: expected no rows, found\n{}",
                pretty_format_batches(&found)?
            ));
        }
    }
    Ok(())
}

fn red(what: String) -> Result<()> {
    Err(RedGate(format!(
        "{what}\nexamples stays as it was\nhint: --force commits all the same; `tuwen config` shows the gates"
    ))
    .into())
}

/// The SQL files of `folder`, by name.
fn own_audits(folder: &str) -> Result<Vec<(String, String)>> {
    if folder.is_empty() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(Path::new(folder)).with_context(|| {
        format!("curate.audits: expected a folder of SQL files, cannot read {folder}")
    })?;
    let mut audits = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            audits.push((path.display().to_string(), text));
        }
    }
    if audits.is_empty() {
        bail!("curate.audits: expected SQL files in {folder}, found none");
    }
    audits.sort();
    Ok(audits)
}
