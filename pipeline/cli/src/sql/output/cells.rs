//! Values as text. In: a batch. Out: a cell for each of its values, none for NULL; bytes in hexadecimal or by their number.

use anyhow::Result;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// How bytes are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bytes {
    /// In hexadecimal.
    Hex,
    /// `<150528 bytes>`.
    Number,
}

/// Calls `row` with the cells of each row of `batch`.
pub(super) fn for_each_row(
    batch: &RecordBatch,
    bytes: Bytes,
    mut row: impl FnMut(&[Option<String>]) -> Result<()>,
) -> Result<()> {
    // Of a list with nulls in it.
    let options = FormatOptions::default().with_null("NULL");
    let by_number = |column: &ArrayRef| bytes == Bytes::Number && column.data_type().is_binary();
    let shown: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match by_number(column) {
            true => Ok(cast(&length(column)?, &DataType::Int64)?),
            false => Ok(ArrayRef::clone(column)),
        })
        .collect::<Result<_>>()?;
    let formats: Vec<ArrayFormatter<'_>> = shown
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<_, _>>()?;
    let nulls: Vec<_> = shown.iter().map(|column| column.logical_nulls()).collect();
    let mut cells = vec![None; shown.len()];
    for i in 0..batch.num_rows() {
        for (at, cell) in cells.iter_mut().enumerate() {
            let is_null = nulls[at].as_ref().is_some_and(|nulls| nulls.is_null(i));
            *cell = (!is_null).then(|| match by_number(batch.column(at)) {
                true => format!("<{} bytes>", formats[at].value(i)),
                false => formats[at].value(i).to_string(),
            });
        }
        row(&cells)?;
    }
    Ok(())
}

/// A field of a CSV file: in quotes where it has to be, or is empty, which would be NULL.
pub(super) fn quoted_csv(text: &str) -> String {
    match text.is_empty() || text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
