//! The gates: what must hold before `examples` is committed. In: the rows that are to be. Out: nothing, or the first gate that is
//! red. The audits of sql/audits hold whatever is forced; a person's own gates do not.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use datafusion::prelude::SessionContext;
use tuwen_corpus::{Engine, first_rows};
use tuwen_settings::Settings;

use crate::driver::RedGate;
use crate::read_only::{read_only, register_views};

/// Judges `reasons`, the rows of examples by reason ("" for those in a split), and the person's own audits on `ctx`, in which
/// `examples` has the rows that are to be.
///
/// # Errors
/// [`RedGate`]: too many rows are rejected, too few are not, or an own audit returned rows.
pub(super) async fn judge(
    engine: &dyn Engine,
    ctx: &SessionContext,
    settings: &Settings,
    reasons: &BTreeMap<String, u64>,
) -> Result<()> {
    RedGate::of_rejected("pairs", reasons, settings.max_rejected_percent)?;
    let n_good = reasons.get("").copied().unwrap_or(0);
    if n_good < settings.curate.min_examples {
        return red(format!(
            "curate.min_examples: expected at least {} examples in splits, found {n_good}",
            settings.curate.min_examples
        ));
    }
    let own_audits = own_audits(&settings.curate.audits)?;
    if !own_audits.is_empty() {
        register_views(ctx).await?;
    }
    for (name, text) in own_audits {
        let rows = read_only(ctx, &text).await.with_context(|| name.clone())?;
        let found = first_rows(engine, rows).await.with_context(|| name.clone())?;
        if let Some(rows) = found {
            return red(format!("{name}: expected no rows, found\n{rows}"));
        }
    }
    Ok(())
}

fn red(what: String) -> Result<()> {
    Err(RedGate(what).into())
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
