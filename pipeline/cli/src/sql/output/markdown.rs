//! Markdown. In: batches. Out: a table of GitHub's kind, whose cells are on one line.

use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::sql::output::RowWriter;
use crate::sql::output::cells::{Bytes, for_each_row};

/// A table.
pub(super) struct Markdown<'a> {
    out: &'a mut (dyn Write + Send),
}

impl<'a> Markdown<'a> {
    pub(super) fn new(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> Result<Self> {
        let names: Vec<String> = schema.fields().iter().map(|field| cell(field.name())).collect();
        let align = schema.fields().iter().map(|field| match field.data_type().is_numeric() {
            true => "---:",
            false => "---",
        });
        writeln!(out, "| {} |", names.join(" | "))?;
        writeln!(out, "|{}|", align.collect::<Vec<_>>().join("|"))?;
        Ok(Self { out })
    }
}

impl RowWriter for Markdown<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for_each_row(batch, Bytes::Number, |cells| {
            let cells = cells.iter().map(|text| text.as_deref().map_or("NULL".to_owned(), cell));
            writeln!(self.out, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
            Ok(())
        })
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('\r', "").replace('\n', "<br>")
}
