//! CSV and TSV. In: batches. Out: a line a row, the names of the columns first. NULL is told from an empty text in both.

use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::sql::output::RowWriter;
use crate::sql::output::cells::{Bytes, for_each_row, quoted_csv};

/// RFC 4180; what PostgreSQL and DuckDB read by default.
pub(super) struct Csv<'a> {
    out: &'a mut (dyn Write + Send),
}

impl<'a> Csv<'a> {
    pub(super) fn new(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> Result<Self> {
        let names: Vec<String> =
            schema.fields().iter().map(|field| quoted_csv(field.name())).collect();
        writeln!(out, "{}", names.join(","))?;
        Ok(Self { out })
    }
}

impl RowWriter for Csv<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for_each_row(batch, Bytes::Hex, |cells| {
            for (i, cell) in cells.iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                let field = cell.as_deref().map(quoted_csv).unwrap_or_default();
                write!(self.out, "{comma}{field}")?;
            }
            writeln!(self.out)?;
            Ok(())
        })
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// As PostgreSQL's COPY writes text.
pub(super) struct Tsv<'a> {
    out: &'a mut (dyn Write + Send),
}

impl<'a> Tsv<'a> {
    pub(super) fn new(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> Result<Self> {
        let names: Vec<String> =
            schema.fields().iter().map(|field| escaped(field.name())).collect();
        writeln!(out, "{}", names.join("\t"))?;
        Ok(Self { out })
    }
}

impl RowWriter for Tsv<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for_each_row(batch, Bytes::Hex, |cells| {
            for (i, cell) in cells.iter().enumerate() {
                let tab = if i > 0 { "\t" } else { "" };
                match cell {
                    Some(text) => write!(self.out, "{tab}{}", escaped(text))?,
                    None => write!(self.out, "{tab}\\N")?,
                }
            }
            writeln!(self.out)?;
            Ok(())
        })
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    if !text.contains(['\\', '\t', '\n', '\r']) {
        return text.to_owned();
    }
    let text = text.replace('\\', "\\\\").replace('\t', "\\t");
    text.replace('\n', "\\n").replace('\r', "\\r")
}
