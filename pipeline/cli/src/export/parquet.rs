//! A shard as one Parquet file: a row a pair, the picture in it. In: rows with their pictures. Out: a file, in row groups of bounded size;
//! pictures lie uncompressed, the rest is compressed.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::columns::{IMAGE, Layout};
use super::folder::Folder;
use super::options::Format;
use super::picture::Picture;
use super::shard::{Shard, ShardWriter};

/// Bytes of pictures of a row group.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Values that are handed to the encoder at once: pages stay near their limit of one megabyte.
const WRITE_BATCH_ROWS: usize = 8;

/// Writes one shard.
pub(super) struct ParquetShard {
    layout: Arc<Layout>,
    writer: ArrowWriter<File>,
    path: PathBuf,
    name: String,
    /// Of the row group under way.
    bytes: usize,
}

impl ParquetShard {
    /// `shard`, with the columns of `layout`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(super) fn new(
        folder: &Folder,
        shard: &Shard,
        format: Format,
        layout: &Arc<Layout>,
    ) -> Result<Self> {
        let name = shard.name(format);
        let path = folder.work(&name.replace('/', "-"));
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        let (column, metadata) = match format {
            Format::Huggingface => {
                let features = KeyValue::new("huggingface".to_owned(), layout.features());
                (vec![IMAGE.to_owned(), "bytes".to_owned()], Some(vec![features]))
            }
            _ => (vec![IMAGE.to_owned()], None),
        };
        let column = ColumnPath::new(column);
        let properties = WriterProperties::builder()
            .set_created_by(concat!("tuwen ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(metadata)
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_write_batch_size(WRITE_BATCH_ROWS)
            .set_column_compression(column.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_statistics_enabled(column, EnabledStatistics::None)
            .build();
        let schema = Arc::clone(layout.schema());
        let writer = ArrowWriter::try_new(file, schema, Some(properties))?;
        Ok(Self { layout: Arc::clone(layout), writer, path, name, bytes: 0 })
    }
}

impl ShardWriter for ParquetShard {
    fn write(&mut self, rows: &RecordBatch, pictures: &[Picture]) -> Result<()> {
        let batch = self.layout.batch(rows, pictures)?;
        let context = || self.path.display().to_string();
        self.writer.write(&batch).with_context(context)?;
        self.bytes += pictures.iter().map(|picture| picture.file.len()).sum::<usize>();
        if self.bytes >= ROW_GROUP_BYTES {
            self.writer.flush().with_context(context)?;
            self.bytes = 0;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<(PathBuf, String)>> {
        self.writer.close().with_context(|| self.path.display().to_string())?;
        Ok(vec![(self.path, self.name)])
    }
}
