//! How rows are written. In: batches, one after the other. Out: a table for people, or one of the formats that programs read. Nothing
//! is kept but what a format needs to begin: the first rows of a table, a row group of Parquet.

use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

mod cells;
mod json;
mod markdown;
mod names;
mod parquet;
mod table;
mod text;
mod visible;

pub(crate) use self::cells::{Bytes, for_each_row};
pub(crate) use self::names::unique;
pub(crate) use self::visible::{Visible, visible};

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Boxes for people; bytes are shown by their number.
    Table,
    /// RFC 4180 with a header; NULL is empty, an empty text is `""`; bytes in hexadecimal.
    Csv,
    /// Tabs, as PostgreSQL's COPY has it: NULL is `\N`; bytes in hexadecimal.
    Tsv,
    /// One array of objects; bytes in hexadecimal.
    Json,
    /// An object a line; bytes in hexadecimal.
    Ndjson,
    /// One Parquet file, Zstandard.
    Parquet,
    /// A Markdown table.
    Markdown,
}

impl Format {
    /// By the end of a file's name.
    pub(crate) fn of_file(name: &str) -> Option<Self> {
        let (_, end) = name.rsplit_once('.')?;
        Some(match end.to_lowercase().as_str() {
            "txt" => Self::Table,
            "csv" => Self::Csv,
            "tsv" => Self::Tsv,
            "json" => Self::Json,
            "ndjson" | "jsonl" => Self::Ndjson,
            "parquet" => Self::Parquet,
            "md" => Self::Markdown,
            _ => return None,
        })
    }

    /// Whether a file of it may hold the rows of several queries.
    pub(crate) fn holds_several(self) -> bool {
        !matches!(self, Self::Parquet | Self::Json)
    }
}

/// Writes the rows of one query.
pub(crate) trait RowWriter {
    /// Writes some rows.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Writes what comes after the last.
    fn finish(&mut self) -> Result<()>;
}

/// A writer of rows of `schema` to `out`; a table is at most `max_width` columns of the terminal wide, if that is given.
pub(crate) fn writer<'a>(
    format: Format,
    schema: &SchemaRef,
    max_width: Option<usize>,
    out: &'a mut (dyn Write + Send),
) -> Result<Box<dyn RowWriter + 'a>> {
    Ok(match format {
        Format::Table => Box::new(table::Table::new(schema, max_width, out)),
        Format::Csv => Box::new(text::Lines::<text::Csv>::new(schema, out)?),
        Format::Tsv => Box::new(text::Lines::<text::Tsv>::new(schema, out)?),
        Format::Json => Box::new(json::Json::new(schema, out)),
        Format::Ndjson => Box::new(json::Ndjson::new(schema, out)),
        Format::Parquet => Box::new(parquet::Parquet::new(schema, out)?),
        Format::Markdown => Box::new(markdown::Markdown::new(schema, out)?),
    })
}
