//! The pictures of a snapshot in the order in which they lie. In: a table and its column of pictures. Out: where each image's picture
//! lies; the pictures at given places, one after the other. Never holds more than a row group of them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use futures::TryStreamExt;
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::ParquetRecordBatchStream;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::PageIndexPolicy;

use crate::keys::key_of_id;
use crate::maintenance::StoreFile;
use crate::plain_files::PlainFile;
use crate::snapshot::Snapshot;

/// Rows a batch: 16 of the largest originals still fit.
const BATCH_ROWS: usize = 16;

/// Rows a batch of ids.
const ID_BATCH_ROWS: usize = 8192;

/// Bits of a place that are the row in its file.
const ROW_BITS: u32 = 32;

/// The length of a picture, where the table has it.
const LENGTH: &str = "bytes_len";

/// The pictures of one table at one version.
pub struct PictureFiles {
    table: &'static str,
    column: &'static str,
    store: Arc<dyn ObjectStore>,
    /// Oldest first.
    files: Vec<PlainFile>,
}

impl Snapshot {
    /// The pictures that stand in `column` of `table`.
    ///
    /// # Errors
    /// The table is not there, or its files alone do not say what its rows are.
    pub fn pictures(&self, table: &'static str, column: &'static str) -> Result<PictureFiles> {
        let files = self.plain_files(table)?;
        Ok(PictureFiles { table, column, store: self.store_of(table), files })
    }
}

impl PictureFiles {
    /// The columns of [`Self::places`].
    pub fn places_schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("image_key", DataType::Decimal128(38, 0), false),
            Field::new("place", DataType::Int64, false),
            Field::new(LENGTH, DataType::Int64, true),
        ]))
    }

    /// A row for each row of the table that has an image: its `id_key`, its place, and the bytes of the picture where they are known.
    /// 40 bytes a row.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn places(&self) -> Result<Vec<RecordBatch>> {
        let mut all = Vec::new();
        for (number, file) in self.files.iter().enumerate() {
            let read = self.places_of(number as i64, file, &mut all).await;
            read.with_context(|| self.label(file))?;
        }
        Ok(all)
    }

    async fn places_of(
        &self,
        number: i64,
        file: &PlainFile,
        all: &mut Vec<RecordBatch>,
    ) -> Result<()> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder =
            ParquetRecordBatchStreamBuilder::new_with_options(file.in_store(&self.store), options)
                .await?;
        let columns = ProjectionMask::columns(builder.parquet_schema(), ["image_id", LENGTH]);
        let builder = builder.with_projection(columns).with_batch_size(ID_BATCH_ROWS);
        let (mut batches, mut place) = (builder.build()?, number << ROW_BITS);
        while let Some(batch) = batches.try_next().await? {
            let ids = batch.column_by_name("image_id").context("expected a column `image_id`")?;
            let ids = ids.as_string_opt::<i32>().context("expected texts in `image_id`")?;
            let lengths = batch.column_by_name(LENGTH).map(|column| {
                column.as_primitive_opt::<Int64Type>().context("expected bigint in `bytes_len`")
            });
            let lengths = lengths.transpose()?;
            let rows: Vec<usize> = (0..ids.len()).filter(|&row| ids.is_valid(row)).collect();
            let keys = rows.iter().map(|&row| key_of_id(ids.value(row)));
            let keys = Decimal128Array::from_iter_values(keys).with_precision_and_scale(38, 0)?;
            let places = rows.iter().map(|&row| place + row as i64);
            let length = |row: usize| lengths.filter(|all| all.is_valid(row)).map(|l| l.value(row));
            let columns: Vec<ArrayRef> = vec![
                Arc::new(keys),
                Arc::new(Int64Array::from_iter_values(places)),
                Arc::new(rows.iter().map(|&row| length(row)).collect::<Int64Array>()),
            ];
            all.push(RecordBatch::try_new(Self::places_schema(), columns)?);
            place += batch.num_rows() as i64;
        }
        Ok(())
    }

    /// A reader of the pictures at `places`, which ascend.
    pub fn read(self: &Arc<Self>, places: &[i64]) -> PictureReader {
        debug_assert!(places.is_sorted(), "places are read in the order of the files");
        let mut left: VecDeque<FileRows> = VecDeque::new();
        for &place in places {
            let (file, row) = ((place >> ROW_BITS) as usize, (place as u32) as usize);
            if left.back().is_none_or(|last| last.file != file) {
                left.push_back(FileRows { file, rows: Vec::new() });
            }
            let rows = &mut left.back_mut().expect("one was pushed").rows;
            match rows.last_mut() {
                Some(last) if row < last.end => {}
                Some(last) if row == last.end => last.end += 1,
                _ => rows.push(row..row + 1),
            }
        }
        PictureReader { files: Arc::clone(self), left, batches: None, file: 0, batch: None, at: 0 }
    }

    async fn open(
        &self,
        file: &PlainFile,
        rows: Vec<Range<usize>>,
    ) -> Result<ParquetRecordBatchStream<StoreFile>> {
        let mut reader = file.in_store(&self.store);
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load_async(&mut reader, options).await?;
        // Views point into the pages: a picture is copied once less.
        let fields = metadata.schema().fields().iter().map(|field| match field.name() {
            name if name == self.column => {
                field.as_ref().clone().with_data_type(DataType::BinaryView)
            }
            _ => field.as_ref().clone(),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = ArrowReaderOptions::new().with_schema(schema);
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?;
        let n_rows = metadata.metadata().file_metadata().num_rows() as usize;
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata);
        let column = ProjectionMask::columns(builder.parquet_schema(), [self.column]);
        let selection = RowSelection::from_consecutive_ranges(rows.into_iter(), n_rows);
        let builder = builder.with_projection(column).with_row_selection(selection);
        Ok(builder.with_batch_size(BATCH_ROWS).build()?)
    }

    fn label(&self, file: &PlainFile) -> String {
        format!("table `{}`, file {}", self.table, file.path)
    }
}

/// Rows of a file that are to be read.
struct FileRows {
    file: usize,
    rows: Vec<Range<usize>>,
}

/// Reads pictures, one after the other.
pub struct PictureReader {
    files: Arc<PictureFiles>,
    left: VecDeque<FileRows>,
    batches: Option<ParquetRecordBatchStream<StoreFile>>,
    /// The file that is read.
    file: usize,
    batch: Option<ArrayRef>,
    /// The next of `batch`.
    at: usize,
}

impl PictureReader {
    /// The next of the distinct places; none after the last.
    ///
    /// # Errors
    /// A file cannot be read, or has no picture there.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.at < batch.len()) {
                let at = self.at;
                self.at += 1;
                let pictures = batch.as_binary_view();
                let has_one = pictures.is_valid(at);
                ensure!(has_one, "{}: a row has no picture", self.label());
                return Ok(Some(pictures.value(at).to_vec()));
            }
            if let Some(batches) = &mut self.batches {
                let read = batches.try_next().await;
                if let Some(batch) = read.with_context(|| self.label())? {
                    (self.batch, self.at) = (Some(Arc::clone(batch.column(0))), 0);
                    continue;
                }
            }
            let Some(FileRows { file, rows }) = self.left.pop_front() else { return Ok(None) };
            self.file = file;
            let opened = self.files.open(&self.files.files[file], rows).await;
            self.batches = Some(opened.with_context(|| self.label())?);
            self.batch = None;
        }
    }

    /// What is read, for messages.
    pub fn label(&self) -> String {
        self.files.files.get(self.file).map_or_else(String::new, |file| self.files.label(file))
    }
}
