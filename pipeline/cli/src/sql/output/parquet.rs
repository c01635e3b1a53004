//! Parquet. In: batches. Out: one file, in row groups of bounded size, so that pictures do not gather in memory.

use std::io::Write;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::sql::output::RowWriter;
use crate::sql::output::names::{renamed, unique};

/// Bytes of a row group before it is written.
const ROW_GROUP_BYTES: usize = 128 << 20;

/// One file.
pub(super) struct Parquet<'a> {
    /// None when it is closed.
    writer: Option<ArrowWriter<&'a mut (dyn Write + Send)>>,
    schema: SchemaRef,
}

impl<'a> Parquet<'a> {
    pub(super) fn new(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> Result<Self> {
        let schema = unique(schema);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("tuwen ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = ArrowWriter::try_new(out, SchemaRef::clone(&schema), Some(properties))?;
        Ok(Self { writer: Some(writer), schema })
    }
}

impl RowWriter for Parquet<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let writer = self.writer.as_mut().context("a writer that is finished takes no rows")?;
        writer.write(&renamed(batch, &self.schema)?)?;
        if writer.in_progress_size() > ROW_GROUP_BYTES {
            writer.flush()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            writer.close()?;
        }
        Ok(())
    }
}
