//! Whether a source is read as it was meant. In: its first rows. Out: a refusal if most of them are malformed, as under a wrong encoding
//! or delimiter, before any row is written. A few bad lines are rows like others.

use anyhow::Result;
use encoding_rs::Encoding;

use crate::driver::RedGate;
use crate::ingest::encoding::{encoding_of, name_of};
use crate::ingest::row::Row;

/// Rows looked at.
const ROWS_LOOKED_AT: usize = 1000;

/// Malformed rows that do not condemn a file, unless all are.
const FEW_ROWS: usize = 5;

/// Checks that of the first of `rows`, read in `encoding`, no more than `max_malformed_percent` are malformed; `bytes` are the file.
///
/// # Errors
/// [`RedGate`]: more are, with the first of them. Or a row cannot be read.
pub(super) fn check_first_rows(
    rows: impl Iterator<Item = Result<Row>>,
    max_malformed_percent: f64,
    encoding: &'static Encoding,
    bytes: &[u8],
) -> Result<()> {
    let (mut n_rows, mut n_malformed, mut first) = (0, 0, None);
    for row in rows.take(ROWS_LOOKED_AT) {
        let row = row?;
        n_rows += 1;
        if let Err(wrong) = row.fields {
            n_malformed += 1;
            first.get_or_insert((row.line, wrong));
        }
    }
    let Some((line, wrong)) = first else { return Ok(()) };
    let percent = 100.0 * n_malformed as f64 / n_rows as f64;
    let is_condemned = n_malformed == n_rows || n_malformed > FEW_ROWS;
    if !is_condemned || percent <= max_malformed_percent {
        return Ok(());
    }
    let hint = match encoding_of(bytes, None) {
        Ok(other) if other != encoding => format!("--encoding {}", name_of(other)),
        _ => {
            "mend it, or --set max_rejected_percent=100 to have its lines in the corpus".to_owned()
        }
    };
    let what = format!(
        "expected rows in {}, at most {max_malformed_percent} % of them malformed (max_rejected_percent), found {n_malformed} \
         malformed of the first {n_rows}; line {line}: {wrong}\nhint: {hint}",
        name_of(encoding)
    );
    Err(RedGate(what).into())
}
