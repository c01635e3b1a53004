//! One Parquet file of a table. In: where it lies in the table's store. Out: its footer and its
//! rows, a row group at a time, or what is wrong with it. A store that does not answer is never
//! taken for a damaged file.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use crate::plain_files::PlainFile;

/// Bytes asked for at a file's end in the first request: mostly the whole footer.
const TAIL_BYTES: usize = 64 << 10;

/// Rows a batch of tables that hold pictures: 16 rows of the largest originals still fit.
const HEAVY_BATCH_ROWS: usize = 16;

/// Rows a batch of the other tables.
const LIGHT_BATCH_ROWS: usize = 8192;

/// How the author of a file begins that tuwen wrote ([`crate::layout`]).
const AUTHOR: &str = "tuwen";

/// What reading comes to: the outer error is the store's, the inner one says what is wrong with
/// the file.
pub(crate) type Readable<T> = Result<Result<T, String>>;

/// A file of a table, not yet read.
#[derive(Clone, Debug)]
pub(crate) struct StoreFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

impl PlainFile {
    /// The file in `store`, of the size that the log says.
    pub(crate) fn in_store(&self, store: &Arc<dyn ObjectStore>) -> StoreFile {
        StoreFile::new(Arc::clone(store), self.store_path.clone(), self.bytes)
    }
}

impl StoreFile {
    /// The file at `path` of `store`, of `bytes` as the store says.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, path: Path, bytes: u64) -> Self {
        Self { store, path, bytes }
    }

    /// Reads its footer.
    pub(crate) async fn open(mut self) -> Readable<OpenFile> {
        // What another tool noted of its Arrow types does not matter: the types are the table's.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let read = ArrowReaderMetadata::load_async(&mut self, options).await;
        let path = self.path.clone();
        blame(read)
            .map(|read| read.map(|metadata| OpenFile { file: self, metadata }))
            .with_context(|| format!("reading {path}"))
    }
}

impl AsyncFileReader for StoreFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            self.check(&range)?;
            let read = self.store.get_range(&self.path, range).await;
            read.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move {
            ranges.iter().try_for_each(|range| self.check(range))?;
            let read = self.store.get_ranges(&self.path, &ranges).await;
            read.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let bytes = self.bytes;
            let reader = ParquetMetaDataReader::new()
                .with_metadata_options(options.map(|options| options.metadata_options().clone()))
                .with_offset_index_policy(
                    options.map_or(PageIndexPolicy::Skip, ArrowReaderOptions::offset_index_policy),
                )
                .with_prefetch_hint(Some(TAIL_BYTES));
            Ok(Arc::new(reader.load_and_finish(self, bytes).await?))
        }
        .boxed()
    }
}

impl StoreFile {
    /// A damaged footer may name bytes that the file does not have: that is its fault, not the
    /// store's.
    fn check(&self, range: &Range<u64>) -> parquet::errors::Result<()> {
        if range.start <= range.end && range.end <= self.bytes {
            return Ok(());
        }
        Err(ParquetError::EOF(format!(
            "expected bytes {}..{}, the file has {}",
            range.start, range.end, self.bytes
        )))
    }
}

/// A file whose footer is read.
#[derive(Clone, Debug)]
pub(crate) struct OpenFile {
    file: StoreFile,
    metadata: ArrowReaderMetadata,
}

impl OpenFile {
    /// Rows by the footer.
    pub(crate) fn n_rows(&self) -> u64 {
        self.groups().last().map_or(0, |rows| rows.end)
    }

    /// The rows of each row group.
    pub(crate) fn groups(&self) -> Vec<Range<u64>> {
        let mut first = 0;
        let groups = self.metadata.metadata().row_groups().iter().map(|group| {
            let rows = first..first + u64::try_from(group.num_rows()).unwrap_or(0);
            first = rows.end;
            rows
        });
        groups.collect()
    }

    /// Whether the file does not lie as tuwen lays it out: another program wrote it, or column
    /// `bulky` is compressed, goes through a dictionary, or has no offset index.
    pub(crate) fn is_foreign(&self, bulky: &str) -> bool {
        let metadata = self.metadata.metadata();
        let author = metadata.file_metadata().created_by();
        if !author.is_some_and(|author| author.starts_with(AUTHOR)) {
            return true;
        }
        metadata.row_groups().iter().any(|group| {
            let column = group.columns().iter().find(|c| c.column_path().string() == bulky);
            column.is_some_and(|column| {
                column.compression() != parquet::basic::Compression::UNCOMPRESSED
                    || column.dictionary_page_offset().is_some()
                    || column.offset_index_offset().is_none()
            })
        })
    }

    /// The batches of row group `group`: of all columns, or of those named.
    pub(crate) fn read(
        &self,
        group: usize,
        table: &str,
        columns: Option<&[&str]>,
    ) -> Result<GroupReader> {
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(
            self.file.clone(),
            self.metadata.clone(),
        );
        let mask = columns.map(|columns| {
            ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied())
        });
        let stream = builder
            .with_row_groups(vec![group])
            .with_batch_size(batch_rows(table))
            .with_projection(mask.unwrap_or_else(ProjectionMask::all))
            .build()
            .with_context(|| format!("reading {}", self.file.path))?;
        Ok(GroupReader { stream, path: self.file.path.clone() })
    }
}

/// The rows of one row group, batch by batch.
pub(crate) struct GroupReader {
    stream: ParquetRecordBatchStream<StoreFile>,
    path: Path,
}

impl GroupReader {
    /// The next batch; none after the last.
    pub(crate) async fn next(&mut self) -> Readable<Option<RecordBatch>> {
        blame(self.stream.try_next().await).with_context(|| format!("reading {}", self.path))
    }
}

fn batch_rows(table: &str) -> usize {
    if matches!(table, "images" | "originals") { HEAVY_BATCH_ROWS } else { LIGHT_BATCH_ROWS }
}

/// Whose fault an error is.
fn blame<T>(read: parquet::errors::Result<T>) -> Readable<T> {
    match read {
        Ok(value) => Ok(Ok(value)),
        Err(ParquetError::External(error)) if error.is::<object_store::Error>() => {
            Err(anyhow::Error::from_boxed(error))
        }
        Err(error) => Ok(Err(error.to_string())),
    }
}
