//! Rows of a table by their place. In: a snapshot, a table's name, numbers of rows within its files. Out: those rows, by reading no
//! more of a file than the pages that they stand in. Never asks for a filter: who wants one asks SQL.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::RecordBatch;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelectionPolicy,
};
use parquet::arrow::push_decoder::ParquetPushDecoderBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder};

use crate::snapshot::Snapshot;

/// Bytes asked for at a file's end in the first request: mostly all of the footer.
const TAIL_BYTES: u64 = 64 << 10;

/// Rows a batch of a whole file.
const BATCH_ROWS: usize = 8192;

/// A data file of a table, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Below the table's folder.
    pub path: String,
    location: Path,
    size_bytes: u64,
}

/// A data file whose footer is read.
pub struct RowFile {
    store: Arc<dyn ObjectStore>,
    listed: ListedFile,
    metadata: ArrowReaderMetadata,
    n_rows: u32,
}

impl Snapshot {
    /// The files of table `name`, oldest first (by the time in the log, then by path); none if the table is not there.
    ///
    /// # Errors
    /// The files alone do not say what the rows are.
    pub fn listed_files(&self, name: &str) -> Result<Vec<ListedFile>> {
        let delta = self.delta(name);
        if delta.version().is_none() {
            return Ok(Vec::new());
        }
        let mut files = Vec::new();
        for view in delta.snapshot()?.log_data().iter() {
            let path = view.path().into_owned();
            if view.deletion_vector_descriptor().is_some() {
                bail!(
                    "table `{name}`, file {path}: it has a deletion vector, and whole files are read\n\
                     hint: compact the table (`reorg … apply (purge)` in Spark)"
                );
            }
            let size_bytes = u64::try_from(view.size())
                .with_context(|| format!("table `{name}`, file {path}: its size in the log"))?;
            let location = view.object_store_path();
            files.push((view.modification_time(), ListedFile { path, location, size_bytes }));
        }
        files.sort_by(|(a_time, a), (b_time, b)| (a_time, &a.path).cmp(&(b_time, &b.path)));
        Ok(files.into_iter().map(|(_, file)| file).collect())
    }

    /// Opens a file of table `name`.
    ///
    /// # Errors
    /// Its footer cannot be read.
    pub async fn open_file(&self, name: &str, listed: ListedFile) -> Result<RowFile> {
        let store = self.delta(name).log_store().object_store(None);
        let context = || format!("table `{name}`, file {}", listed.path);
        let footer = footer(store.as_ref(), &listed).await.with_context(context)?;
        let n_rows = u32::try_from(footer.file_metadata().num_rows()).with_context(context)?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::try_new(Arc::new(footer), options)?;
        Ok(RowFile { store, listed, metadata, n_rows })
    }
}

impl RowFile {
    /// As the log has it.
    pub fn listed(&self) -> &ListedFile {
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
        let mut builder = ParquetPushDecoderBuilder::new_with_metadata(self.metadata.clone())
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
        let mut decoder = builder.build()?;
        let mut batches = Vec::new();
        loop {
            match decoder.try_decode()? {
                DecodeResult::NeedsData(ranges) => {
                    let bytes = self.store.get_ranges(&self.listed.location, &ranges).await?;
                    decoder.push_ranges(ranges, bytes)?;
                }
                DecodeResult::Data(batch) => batches.push(batch),
                DecodeResult::Finished => return Ok(batches),
            }
        }
    }
}

/// The footer with the offset index, which says where pages are.
async fn footer(store: &dyn ObjectStore, listed: &ListedFile) -> Result<ParquetMetaData> {
    let size = listed.size_bytes;
    let mut decoder = ParquetMetaDataPushDecoder::try_new(size)?
        .with_column_index_policy(PageIndexPolicy::Skip)
        .with_offset_index_policy(PageIndexPolicy::Optional);
    let tail: Range<u64> = size.saturating_sub(TAIL_BYTES)..size;
    let mut wanted = Vec::from([tail]);
    loop {
        let bytes = store.get_ranges(&listed.location, &wanted).await?;
        decoder.push_ranges(wanted, bytes)?;
        match decoder.try_decode()? {
            DecodeResult::NeedsData(ranges) => wanted = ranges,
            DecodeResult::Data(metadata) => return Ok(metadata),
            DecodeResult::Finished => bail!("its footer ended before it was whole"),
        }
    }
}
