//! Values as text. In: a batch. Out: a cell for each of its values, none for NULL; bytes in hexadecimal or by their number.

use std::borrow::Cow;

use anyhow::Result;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// How bytes are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// In hexadecimal.
    Hex,
    /// `<150528 bytes>`.
    Number,
}

/// The values of a column as text.
enum Column<'a> {
    /// They are texts.
    Text(&'a StringArray),
    /// As arrow shows them.
    Shown(ArrayFormatter<'a>),
    /// Bytes by their number.
    Number(ArrayFormatter<'a>),
}

impl Column<'_> {
    fn cell(&self, row: usize) -> Result<Cow<'_, str>> {
        Ok(match self {
            Self::Text(texts) => texts.value(row).into(),
            Self::Shown(values) => values.value(row).try_to_string()?.into(),
            Self::Number(values) => format!("<{} bytes>", values.value(row)).into(),
        })
    }
}

/// Calls `row` with the cells of each row of `batch`.
pub(crate) fn for_each_row(
    batch: &RecordBatch,
    bytes: Bytes,
    mut row: impl FnMut(&[Option<Cow<'_, str>>]) -> Result<()>,
) -> Result<()> {
    // NULL is that of a list with nulls in it; a value that cannot be shown is an error, not the text of a cell.
    let options = FormatOptions::default().with_null("NULL").with_display_error(false);
    let is_number = |column: &ArrayRef| bytes == Bytes::Number && column.data_type().is_binary();
    let shown: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match is_number(column) {
            true => Ok(cast(&length(column)?, &DataType::Int64)?),
            false => Ok(ArrayRef::clone(column)),
        })
        .collect::<Result<_>>()?;
    let columns: Vec<Column<'_>> = shown
        .iter()
        .zip(batch.columns())
        .map(|(shown, column)| {
            if let Some(texts) = shown.as_string_opt::<i32>() {
                return Ok(Column::Text(texts));
            }
            let values = ArrayFormatter::try_new(shown, &options)?;
            Ok(if is_number(column) { Column::Number(values) } else { Column::Shown(values) })
        })
        .collect::<Result<_>>()?;
    let nulls: Vec<_> = shown.iter().map(|column| column.logical_nulls()).collect();
    let mut cells = Vec::with_capacity(columns.len());
    for i in 0..batch.num_rows() {
        cells.clear();
        for (column, nulls) in columns.iter().zip(&nulls) {
            let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(i));
            cells.push(if is_null { None } else { Some(column.cell(i)?) });
        }
        row(&cells)?;
    }
    Ok(())
}
