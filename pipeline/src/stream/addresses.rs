//! The offset index as an address table. In: a file's footer with its offset index. Out: where in the file each row's pixels
//! begin, or that the layout does not allow it. Never reads a page.
//!
//! The pixels of a row are the last bytes of its page when the page is uncompressed, plainly encoded, and holds one value.
//! Rejected rows hold no value, so a page may hold several rows of which one is decoded.

use parquet::basic::{Compression, Encoding, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::page_index::offset_index::PageLocation;

/// Bytes of the length that stands before each value in plain encoding.
pub(super) const LENGTH_BYTES: u64 = 4;

/// In place of an address: the row holds no pixels. No file has so many bytes.
pub(super) const NO_PIXELS: u64 = u64::MAX;

/// Where each row's `pixel_bytes` bytes begin in a file of `file_bytes`; `decoded` are the rows that hold pixels, ascending. None if any page could be
/// otherwise than the stream's own layout has it: the general path reads such a file.
pub(super) fn addresses(
    metadata: &ParquetMetaData,
    file_bytes: u64,
    column: usize,
    pixel_bytes: u64,
    decoded: &[u32],
) -> Option<Vec<u64>> {
    let index = metadata.offset_index()?;
    let n_rows = usize::try_from(metadata.file_metadata().num_rows()).ok()?;
    let mut addresses = vec![NO_PIXELS; n_rows];
    let mut decoded = decoded.iter().copied().peekable();
    let mut first_row = 0_u64;
    for (group, columns) in metadata.row_groups().iter().zip(index) {
        let chunk = group.column(column);
        if !is_plain(chunk) {
            return None;
        }
        let (start, length) = chunk.byte_range();
        let rows_of_group = u64::try_from(group.num_rows()).ok()?;
        let pages = columns.get(column)?.page_locations();
        if pages.first().is_some_and(|page| page.first_row_index != 0) {
            return None;
        }
        for (place, page) in pages.iter().enumerate() {
            let next_page = pages.get(place + 1);
            let rows_to = next_page
                .map_or(Some(rows_of_group), |next| next.first_row_index.try_into().ok())?;
            let (page_start, page_end) = extent(page)?;
            if page_start < start || page_end > (start + length).min(file_bytes) {
                return None;
            }
            let in_page = |row: &u32| u64::from(*row) < first_row + rows_to;
            let Some(row) = decoded.next_if(in_page) else { continue };
            let holds_one_value = decoded.peek().is_none_or(|row| !in_page(row))
                && page_end - page_start > pixel_bytes + LENGTH_BYTES
                && page_end - page_start < 2 * (pixel_bytes + LENGTH_BYTES);
            if !holds_one_value {
                return None;
            }
            *addresses.get_mut(row as usize)? = page_end - pixel_bytes;
        }
        first_row += rows_of_group;
    }
    decoded.next().is_none().then_some(addresses)
}

/// Whether a chunk's pages are plain values after their levels, and nothing else.
fn is_plain(chunk: &ColumnChunkMetaData) -> bool {
    let column = chunk.column_descr();
    let encodings = [Encoding::PLAIN, Encoding::RLE];
    chunk.compression() == Compression::UNCOMPRESSED
        && chunk.column_type() == Type::BYTE_ARRAY
        && chunk.dictionary_page_offset().is_none()
        && chunk.encodings().all(|encoding| encodings.contains(&encoding))
        && column.max_rep_level() == 0
        && column.max_def_level() <= 1
}

/// Where a page begins and ends, its header included.
fn extent(page: &PageLocation) -> Option<(u64, u64)> {
    let start = u64::try_from(page.offset).ok()?;
    Some((start, start.checked_add(u64::try_from(page.compressed_page_size).ok()?)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, Int32Array, RecordBatch};
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
    use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
    use parquet::schema::types::ColumnPath;

    use super::*;

    const PIXEL_BYTES: usize = 300;

    /// Rejected rows at the beginning, in a row, alone, and at the end; 40 rows in row groups of 16.
    fn pixels() -> Vec<Option<Vec<u8>>> {
        let is_rejected = |row: u8| [0, 1, 5, 9, 10, 11, 12, 15, 16, 31, 38, 39].contains(&row);
        (0..40).map(|row| (!is_rejected(row)).then(|| vec![row + 100; PIXEL_BYTES])).collect()
    }

    fn file(properties: WriterPropertiesBuilder, pixels: &[Option<Vec<u8>>]) -> Bytes {
        let values = BinaryArray::from_opt_vec(pixels.iter().map(Option::as_deref).collect());
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..pixels.len() as i32));
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("n", numbers, false),
            ("pixels", Arc::new(values) as _, true),
        ]);
        let batch = batch.unwrap();
        let properties = properties.set_max_row_group_row_count(Some(16)).build();
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes.into()
    }

    fn table(file: &Bytes, pixel_bytes: usize, pixels: &[Option<Vec<u8>>]) -> Option<Vec<u64>> {
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = reader.parse_and_finish(file).unwrap();
        let decoded: Vec<u32> =
            (0..).zip(pixels).filter(|(_, p)| p.is_some()).map(|(row, _)| row).collect();
        addresses(&metadata, file.len() as u64, 1, pixel_bytes as u64, &decoded)
    }

    fn one_value_a_page() -> WriterPropertiesBuilder {
        let column = ColumnPath::from("pixels");
        WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_write_batch_size(1)
            .set_column_data_page_size_limit(column, 1)
    }

    #[test]
    fn addresses_point_at_the_pixels_of_their_rows() {
        let one_row_a_page = one_value_a_page().set_data_page_row_count_limit(1);
        let version_2 = one_value_a_page().set_writer_version(WriterVersion::PARQUET_2_0);
        let version_2 = version_2.set_column_encoding(ColumnPath::from("pixels"), Encoding::PLAIN);
        for properties in [one_value_a_page(), one_row_a_page, version_2] {
            let pixels = pixels();
            let file = file(properties, &pixels);
            let table = table(&file, PIXEL_BYTES, &pixels).expect("the layout is the stream's own");
            for (address, pixels) in table.into_iter().zip(&pixels) {
                match pixels {
                    None => assert_eq!(address, NO_PIXELS),
                    Some(pixels) => {
                        let start = address as usize;
                        assert_eq!(file[start..start + PIXEL_BYTES], pixels[..]);
                        assert_eq!(file[start - 4..start], (PIXEL_BYTES as u32).to_le_bytes());
                    }
                }
            }
        }
    }

    #[test]
    fn any_other_layout_is_left_to_the_general_path() {
        let all = vec![Some(vec![7; PIXEL_BYTES]); 40];
        let pixels_column = ColumnPath::from("pixels");
        for (what, properties) in [
            ("many rows a page", WriterProperties::builder().set_dictionary_enabled(false)),
            (
                "a dictionary",
                one_value_a_page().set_column_dictionary_enabled(pixels_column.clone(), true),
            ),
            ("compression", one_value_a_page().set_compression(Compression::LZ4_RAW)),
            ("no offset index", one_value_a_page().set_offset_index_disabled(true)),
            (
                "lengths apart from values",
                one_value_a_page()
                    .set_column_encoding(pixels_column, Encoding::DELTA_LENGTH_BYTE_ARRAY),
            ),
        ] {
            assert_eq!(table(&file(properties, &all), PIXEL_BYTES, &all), None, "{what}");
        }
    }

    #[test]
    fn pages_that_do_not_hold_what_the_light_columns_say_are_left_to_the_general_path() {
        let pixels = pixels();
        let file = file(one_value_a_page(), &pixels);
        assert_eq!(
            table(&file, PIXEL_BYTES + 100, &pixels),
            None,
            "values shorter than the images' size"
        );
        assert_eq!(
            table(&file, PIXEL_BYTES / 3, &pixels),
            None,
            "values longer than the images' size"
        );
        let all = vec![Some(Vec::new()); 40];
        assert_eq!(
            table(&file, PIXEL_BYTES, &all),
            None,
            "rows said to be decoded, whose page holds another's value"
        );
    }
}
