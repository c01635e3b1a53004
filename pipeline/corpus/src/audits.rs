//! The audits. In: a session with all tables. Out: nothing, or the first rows of the first audit that found any.

use std::time::Instant;

use anyhow::{Result, bail};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::{StreamExt, TryStreamExt, stream};

use crate::engine::{Engine, collect};

/// Rows of a failed audit that are shown.
const SHOWN_ROWS: usize = 5;

macro_rules! audits {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../../sql/audits/", $name, ".sql")))),+]
    };
}

/// Name and text of every audit, causes before what follows from them; each must return no row.
pub const AUDITS: [(&str, &str); 7] = audits![
    "one_row_an_image",
    "decoded_have_codec",
    "one_example_a_pair",
    "split_or_reason",
    "examples_have_pixels",
    "examples_have_tokens",
    "one_split_an_image",
];

/// Images whose picture files were lost; no audit, since a corpus with such is as good as before.
pub(crate) const IMAGES_WITHOUT_ORIGINAL: (&str, &str) =
    ("images_without_original", include_str!("../../../sql/images_without_original.sql"));

/// Runs every audit by `engine`.
///
/// # Errors
/// An audit returned rows: the error names it and shows the first of them.
pub async fn audit(engine: &dyn Engine, ctx: &SessionContext, max_length: usize) -> Result<()> {
    // Other machines have room for all at once, and each waits for a job of its own.
    let n_at_once = if engine.is_cluster() { AUDITS.len() } else { 1 };
    let found = AUDITS.map(|(name, text)| {
        Box::pin(async move {
            let mut rows = ctx.sql(text).await?;
            if text.contains("$max_length") {
                rows = rows.with_param_values(vec![("max_length", (max_length as i64).into())])?;
            }
            let clock = Instant::now();
            let found = first_rows(engine, rows).await?;
            let seconds = clock.elapsed().as_secs_f64();
            tracing::debug!(audit = name, seconds, "audit {name}: {seconds:.2} s");
            if let Some(rows) = found {
                bail!("audit sql/audits/{name}.sql: expected no rows, found\n{rows}");
            }
            Ok(())
        })
    });
    stream::iter(found).buffered(n_at_once).try_collect().await
}

/// The first of the rows that an audit found, as a table; none if it found none.
///
/// # Errors
/// It cannot be computed.
pub async fn first_rows(engine: &dyn Engine, rows: DataFrame) -> Result<Option<String>> {
    let found = collect(engine, rows.limit(0, Some(SHOWN_ROWS))?).await?;
    if found.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(None);
    }
    Ok(Some(pretty_format_batches(&found)?.to_string()))
}
