//! Rows of a table by their place. In: a snapshot, a table's name, numbers of rows within its files. Out: those rows, by reading no
//! more of a file than the pages that they stand in. Never asks for a filter: who wants one asks SQL.

use anyhow::{Context, Result, ensure};
use arrow::array::RecordBatch;
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelectionPolicy,
};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::PageIndexPolicy;

use crate::maintenance::StoreFile;
use crate::plain_files::PlainFile;
use crate::snapshot::Snapshot;

/// Rows a batch of a whole file.
const BATCH_ROWS: usize = 8192;

/// A data file whose footer is read.
pub struct RowFile {
    file: StoreFile,
    listed: PlainFile,
    metadata: ArrowReaderMetadata,
    n_rows: u32,
}

impl Snapshot {
    /// Opens a file of table `name`.
    ///
    /// # Errors
    /// Its footer cannot be read.
    pub async fn open_file(&self, name: &str, listed: PlainFile) -> Result<RowFile> {
        let mut file = listed.in_store(&self.store_of(name));
        let context = || format!("table `{name}`, file {}", listed.path);
        // The offset index says where pages are.
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load_async(&mut file, options).await;
        let metadata = metadata.with_context(context)?;
        let n_rows = metadata.metadata().file_metadata().num_rows();
        let n_rows = u32::try_from(n_rows).with_context(context)?;
        Ok(RowFile { file, listed, metadata, n_rows })
    }
}

impl RowFile {
    /// As the log has it.
    pub fn listed(&self) -> &PlainFile {
        &self.listed
    }

    /// How many rows it has.
    pub fn n_rows(&self) -> u32 {
        self.n_rows
    }

    /// `columns`, in the order of the file, of `rows`, which ascend; of all if there are none given.
    ///
    /// # Errors
    /// The file cannot be read, or has no such row.
    pub async fn read(&self, columns: &[&str], rows: Option<&[u32]>) -> Result<Vec<RecordBatch>> {
        let read = self.read_rows(columns, rows).await;
        read.with_context(|| format!("file {}", self.listed.path))
    }

    async fn read_rows(&self, columns: &[&str], rows: Option<&[u32]>) -> Result<Vec<RecordBatch>> {
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), columns.iter().copied());
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(
            self.file.clone(),
            self.metadata.clone(),
        )
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS);
        if let Some(rows) = rows {
            let ranges = rows.iter().map(|&row| row as usize..row as usize + 1);
            let is_there = rows.last().is_none_or(|&last| last < self.n_rows);
            ensure!(is_there, "expected {} rows, found rows {rows:?} asked for", self.n_rows);
            // By skipping, which leaves pages out; a mask over all rows would not.
            builder = builder
                .with_row_selection_policy(RowSelectionPolicy::Selectors)
                .with_row_selection(RowSelection::from_consecutive_ranges(
                    ranges,
                    self.n_rows as usize,
                ));
        }
        Ok(builder.build()?.try_collect().await?)
    }
}
