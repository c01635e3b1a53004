//! Rows of a Parquet file. In: an opened file. Out: its rows, a thousand at a time in memory; only the columns that are asked for
//! are read. A page that cannot be read is an error: what lies behind it cannot be found.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::ingest::columns::{Columns, Mismatch};
use crate::ingest::row::{Fields, MOST_ROW_BYTES, Row, malformed};

/// Rows decoded at once.
const BATCH_ROWS: usize = 1024;

/// The rows of one file, in order.
pub(super) struct ParquetRows {
    batches: ParquetRecordBatchReader,
    /// Where text, URL and file name are among the columns that are read.
    places: [Option<usize>; 3],
    batch: Option<Batch>,
    row: u64,
}

/// Rows that are decoded.
struct Batch {
    /// Text, URL and file name; a value is null that is no UTF-8 too.
    columns: [Option<(LargeStringArray, ArrayRef)>; 3],
    n_rows: usize,
    next: usize,
}

/// Why a file is not read.
pub(super) enum Refused {
    /// It has other columns.
    Columns(Mismatch),
    /// It cannot be read, or has no texts where it should.
    File(anyhow::Error),
}

impl ParquetRows {
    /// Reads the footer of `file`.
    ///
    /// # Errors
    /// It is none, or lacks the columns.
    pub(super) fn new(file: File, columns: &Columns) -> Result<Self, Refused> {
        let opened = guarded(|| Ok(ParquetRecordBatchReaderBuilder::try_new(file)?));
        let builder = opened.context("expected a Parquet file").map_err(Refused::File)?;
        let schema = builder.schema();
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let Some(found) = columns.find(&names) else {
            return Err(Refused::Columns(Mismatch { names, sample: Vec::new() }));
        };
        let wanted = [Some(found.text), found.url, found.filename];
        for place in wanted.into_iter().flatten() {
            let field = schema.field(place);
            if field.data_type().is_nested() {
                let (name, found) = (field.name(), field.data_type());
                let error = anyhow!("column `{name}`: expected texts, found {found}");
                return Err(Refused::File(error));
            }
        }
        let mut read: Vec<usize> = wanted.into_iter().flatten().collect();
        read.sort_unstable();
        read.dedup();
        let places = wanted.map(|place| read.iter().position(|read| Some(*read) == place));
        let mask = ProjectionMask::roots(builder.parquet_schema(), read);
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
        let batches = guarded(|| Ok(reader.build()?)).map_err(Refused::File)?;
        Ok(Self { batches, places, batch: None, row: 0 })
    }

    fn next_batch(&mut self) -> Option<Result<()>> {
        let batches = &mut self.batches;
        let read = guarded(|| Ok(batches.next().transpose()?)).transpose()?;
        let batch = read.and_then(|batch| Batch::new(&batch, self.places));
        Some(batch.with_context(|| format!("after row {}", self.row)).map(|batch| {
            self.batch = Some(batch);
        }))
    }
}

impl Iterator for ParquetRows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        while self.batch.as_ref().is_none_or(|batch| batch.next == batch.n_rows) {
            if let Err(error) = self.next_batch()? {
                return Some(Err(error));
            }
        }
        let batch = self.batch.as_mut()?;
        self.row += 1;
        let fields = batch.fields(batch.next);
        batch.next += 1;
        Some(Ok(Row { line: self.row, fields }))
    }
}

impl Batch {
    fn new(batch: &RecordBatch, places: [Option<usize>; 3]) -> Result<Self> {
        let mut columns = [const { None }; 3];
        for (column, place) in columns.iter_mut().zip(places) {
            let Some(place) = place else { continue };
            let values = batch.column(place);
            let texts = cast(values, &DataType::LargeUtf8)?;
            *column = Some((texts.as_string::<i64>().clone(), Arc::clone(values)));
        }
        Ok(Self { columns, n_rows: batch.num_rows(), next: 0 })
    }

    fn fields(&self, row: usize) -> Result<Fields, String> {
        let field = |i: usize| {
            let name = ["text", "url", "filename"][i];
            let Some((texts, values)) = &self.columns[i] else { return Ok(None) };
            if texts.is_null(row) {
                return match values.is_null(row) {
                    true => Ok(None),
                    false => Err(malformed(format!("`{name}` is not UTF-8"), &[])),
                };
            }
            let text = texts.value(row);
            match text.len() > MOST_ROW_BYTES {
                true => Err(malformed("longer than 16 MiB", text.as_bytes())),
                false => Ok(Some(text.to_owned())),
            }
        };
        Ok(Fields::new(field(0)?, field(1)?, field(2)?))
    }
}

/// Calls `read`; a reader that panics on a file has failed on it.
fn guarded<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(anyhow!("the file is damaged")))
}
