//! JSON. In: batches. Out: one array of objects, or an object a line; each key once, also where two columns have the same name.

use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, Writer};

use crate::sql::output::RowWriter;
use crate::sql::output::names::{renamed, unique};

type Out<'a> = &'a mut (dyn Write + Send);

/// Writes in the format `F`.
pub(super) struct Objects<'a, F: JsonFormat> {
    writer: Writer<Out<'a>, F>,
    schema: SchemaRef,
    /// What comes after the last row.
    end: &'static str,
}

pub(super) type Json<'a> = Objects<'a, JsonArray>;
pub(super) type Ndjson<'a> = Objects<'a, LineDelimited>;

impl<'a> Json<'a> {
    pub(super) fn new(schema: &SchemaRef, out: Out<'a>) -> Self {
        Self::with_end(schema, out, "\n")
    }
}

impl<'a> Ndjson<'a> {
    pub(super) fn new(schema: &SchemaRef, out: Out<'a>) -> Self {
        Self::with_end(schema, out, "")
    }
}

impl<'a, F: JsonFormat> Objects<'a, F> {
    fn with_end(schema: &SchemaRef, out: Out<'a>, end: &'static str) -> Self {
        let writer = WriterBuilder::new().with_explicit_nulls(true).build(out);
        Self { writer, schema: unique(schema), end }
    }
}

impl<F: JsonFormat> RowWriter for Objects<'_, F> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(&renamed(batch, &self.schema)?)?)
    }

    fn finish(&mut self) -> Result<()> {
        self.writer.finish()?;
        self.writer.get_mut().write_all(self.end.as_bytes())?;
        Ok(())
    }
}
