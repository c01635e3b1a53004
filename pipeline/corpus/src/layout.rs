//! How each table lies in Parquet. In: a table's name. Out: writer properties. The layout of `images.pixels` is what makes
//! the stream fast: uncompressed, plain, one row a data page, so that the offset index is an address table.

use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

/// Rows a row group of `images`: 38.5 MB of pixels at 224 px.
pub const IMAGES_ROW_GROUP_ROWS: usize = 256;

/// Bytes after which a row group of `images` or `originals` ends; a writer holds one in memory.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Bytes at which a file is closed. Stages commit chunks smaller than this.
const FILE_BYTES: u64 = 1 << 30;

/// The same for `examples`: a night rewrites the files in which a row has changed, so they are small.
const EXAMPLES_FILE_BYTES: u64 = 4 << 20;

/// Bytes at which a file of the table called `name` is closed.
pub fn target_file_bytes(name: &str) -> u64 {
    if name == "examples" { EXAMPLES_FILE_BYTES } else { FILE_BYTES }
}

/// Writer properties of the table called `name`.
pub fn of(name: &str) -> WriterProperties {
    let builder = WriterProperties::builder()
        .set_created_by(concat!("tuwen ", env!("CARGO_PKG_VERSION")).to_owned());
    match name {
        "images" => images(builder),
        "originals" => originals(builder),
        _ => builder.set_compression(zstd()),
    }
    .build()
}

fn zstd() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level of zstd"))
}

/// One value is handed to the encoder at a time (`write_batch_size`), and a page of `pixels` is full after one byte.
fn images(builder: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
    let pixels = ColumnPath::from("pixels");
    builder
        .set_compression(Compression::UNCOMPRESSED)
        .set_max_row_group_row_count(Some(IMAGES_ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_write_batch_size(1)
        .set_column_data_page_size_limit(pixels.clone(), 1)
        .set_column_dictionary_enabled(pixels.clone(), false)
        .set_column_statistics_enabled(pixels, EnabledStatistics::None)
}

/// Picture files are compressed already; a batch of eight keeps pages near their limit of one megabyte.
fn originals(builder: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
    let bytes = ColumnPath::from("bytes");
    builder
        .set_compression(zstd())
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_write_batch_size(8)
        .set_column_compression(bytes.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(bytes.clone(), false)
        .set_column_statistics_enabled(bytes, EnabledStatistics::None)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn row_groups_of_large_pictures_have_fewer_rows() {
        let picture = vec![0_u8; 4 << 20];
        let pixels: ArrayRef = Arc::new(BinaryArray::from_iter_values([&picture]));
        let batch = RecordBatch::try_from_iter([("pixels", pixels)]).unwrap();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(of("images"))).unwrap();
        for _ in 0..24 {
            writer.write(&batch).unwrap();
        }
        let metadata = writer.close().unwrap();
        let most = metadata.row_groups().iter().map(|group| group.num_rows()).max();
        assert!(most <= Some(16), "{most:?}");
    }
}
