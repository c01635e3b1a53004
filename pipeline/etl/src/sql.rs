//! `tuwen sql`. In: one query over the tables and views of a corpus. Out: its rows as a table, CSV or JSON. Never writes.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use crate::curate::{caption_rules, caption_udfs, distance_udfs};
use crate::decode::decode_udf;
use crate::read_only::register_views;
use tuwen_corpus::report::Progress;
use tuwen_corpus::{Rows, Snapshot};
use tuwen_settings::Settings;

pub use crate::read_only::read_only;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Boxes for people; bytes are shown by their number.
    Table,
    /// RFC 4180 with a header; bytes in hexadecimal.
    Csv,
    /// One array of objects; bytes in hexadecimal.
    Json,
}

/// A session with every table, view and function of the corpus.
///
/// # Errors
/// A table cannot be read, or the settings name no caption rules.
pub async fn session(snapshot: &Snapshot, settings: &Settings) -> Result<SessionContext> {
    let ctx = snapshot.session(Rows::Light).await?;
    ctx.register_udf(decode_udf(settings.decode.clone(), Progress::hidden()));
    let of_captions = caption_udfs(caption_rules(&settings.curate)?);
    for udf in distance_udfs().into_iter().chain(of_captions) {
        ctx.register_udf(udf);
    }
    register_views(&ctx).await?;
    Ok(ctx)
}

/// Runs `query` and writes its rows to `out`; CSV and JSON are written as they come, so memory does not grow with the result.
///
/// # Errors
/// The query is wrong, is not read-only, or fails; or `out` does.
pub async fn run(
    ctx: &SessionContext,
    query: &str,
    format: Format,
    out: &mut dyn Write,
) -> Result<()> {
    let frame = read_only(ctx, query).await?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let mut batches = frame.execute_stream().await?;
    match format {
        Format::Table => {
            let mut shown = vec![printable(&RecordBatch::new_empty(schema))?];
            while let Some(batch) = batches.try_next().await? {
                shown.push(printable(&batch)?);
            }
            writeln!(out, "{}", pretty_format_batches(&shown)?)?;
        }
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(out);
            writer.write(&flat(&RecordBatch::new_empty(schema))?)?;
            while let Some(batch) = batches.try_next().await? {
                writer.write(&flat(&batch)?)?;
            }
        }
        Format::Json => {
            let mut writer = arrow::json::WriterBuilder::new()
                .with_explicit_nulls(true)
                .build::<_, arrow::json::writer::JsonArray>(&mut *out);
            while let Some(batch) = batches.try_next().await? {
                writer.write(&batch)?;
            }
            writer.finish()?;
            writeln!(out)?;
        }
    }
    Ok(())
}

/// Bytes become their number.
fn printable(batch: &RecordBatch) -> Result<RecordBatch> {
    replace_columns(batch, |column| {
        if !matches!(
            column.data_type(),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView
        ) {
            return Ok(None);
        }
        let lengths =
            arrow::compute::kernels::length::length(&cast(column, &DataType::LargeBinary)?)?;
        let lengths = cast(&lengths, &DataType::Int64)?;
        let lengths = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&lengths);
        let texts = lengths.iter().map(|length| length.map(|length| format!("<{length} bytes>")));
        Ok(Some(Arc::new(texts.collect::<StringArray>()) as ArrayRef))
    })
}

/// CSV has no lists and maps: they are written as Arrow prints them.
fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    replace_columns(batch, |column| {
        if !column.data_type().is_nested() {
            return Ok(None);
        }
        let options = arrow::util::display::FormatOptions::default();
        let format = arrow::util::display::ArrayFormatter::try_new(column, &options)?;
        let texts =
            (0..column.len()).map(|i| column.is_valid(i).then(|| format.value(i).to_string()));
        Ok(Some(Arc::new(texts.collect::<StringArray>()) as ArrayRef))
    })
}

fn replace_columns(
    batch: &RecordBatch,
    replace: impl Fn(&ArrayRef) -> Result<Option<ArrayRef>>,
) -> Result<RecordBatch> {
    let schema = batch.schema();
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let column = replace(column)?.unwrap_or_else(|| Arc::clone(column));
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}
