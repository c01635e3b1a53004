//! The offset index as an address table. In: a file's footer with its offset index. Out: where in the file each row's pixels
//! begin, or that the layout does not allow it. Never reads a page.
//!
//! The pixels of a row are the last bytes of its page when the page is uncompressed, plainly encoded, and holds one value.
//! Rejected rows hold no value, so a page may hold several rows of which one is decoded. Raw pixels are of known length, so
//! their address is exact. Of a JPEG only the page is known here; [`last_value`] finds it in the page's bytes.

use anyhow::{Context, Result};
use parquet::basic::{Compression, Encoding, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::page_index::offset_index::PageLocation;

use super::scan::StoredRow;
use tuwen_settings::PixelCodec;

/// Bytes of the length that stands before each value in plain encoding.
pub(super) const LENGTH_BYTES: u64 = 4;

/// Bytes before a page's only value: its header (some 25 bytes, more with statistics), and levels of a bit a row.
const BEFORE_VALUE_BYTES: usize = 512;

/// What to read for a row's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// First byte in the file.
    pub(super) start: u64,
    /// Number of bytes.
    pub(super) bytes: u32,
    /// Raw: the bytes are the value with its length before it. Jpeg: they are the whole page.
    pub(super) codec: PixelCodec,
}

/// Where each row's pixels lie in one file: 4 bytes a row, and 4 more in a file that holds JPEGs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Of each row group its first row, and its first byte in the file.
    groups: Vec<(u32, u64)>,
    /// Of each row its first byte in its row group; [`NO_PIXELS`] for rows without.
    starts: Vec<u32>,
    /// Of each row its number of bytes, with [`IS_JPEG`]; empty if all are raw.
    lengths: Vec<u32>,
    /// The number of bytes of a raw row.
    raw_bytes: u32,
}

/// In place of a row's first byte.
const NO_PIXELS: u32 = u32::MAX;

/// The bit of a row's number of bytes that says that they are a page with a JPEG.
const IS_JPEG: u32 = 1 << 31;

impl Addresses {
    /// What to read for the pixels of `row`; none if it has none.
    pub(super) fn of(&self, row: u32) -> Option<Address> {
        let start = self.starts.get(row as usize).copied().filter(|&start| start != NO_PIXELS)?;
        let group = self.groups.partition_point(|&(first_row, _)| first_row <= row) - 1;
        let start = self.groups[group].1 + u64::from(start);
        Some(match self.lengths.get(row as usize) {
            Some(length) if length & IS_JPEG != 0 => {
                Address { start, bytes: length ^ IS_JPEG, codec: PixelCodec::Jpeg }
            }
            _ => Address { start, bytes: self.raw_bytes, codec: PixelCodec::Raw },
        })
    }
}

/// Where each row's pixels lie in a file of `file_bytes`; raw ones have `pixel_bytes`. `decoded` are the rows that hold pixels,
/// ascending. None if any page could be otherwise than the stream's own layout has it: the general path reads such a file.
pub(super) fn addresses(
    metadata: &ParquetMetaData,
    file_bytes: u64,
    column: usize,
    pixel_bytes: u64,
    decoded: &[StoredRow],
) -> Option<Addresses> {
    let value_bytes = pixel_bytes + LENGTH_BYTES;
    let index = metadata.offset_index()?;
    let n_rows = usize::try_from(metadata.file_metadata().num_rows()).ok()?;
    let has_jpegs = decoded.iter().any(|stored| stored.codec() == PixelCodec::Jpeg);
    let mut groups = Vec::with_capacity(metadata.num_row_groups());
    let mut starts = vec![NO_PIXELS; n_rows];
    let mut lengths = vec![0; if has_jpegs { n_rows } else { 0 }];
    let mut decoded = decoded.iter().copied().peekable();
    let mut first_row = 0_u64;
    for (group, columns) in metadata.row_groups().iter().zip(index) {
        let chunk = group.column(column);
        if !is_plain(chunk) {
            return None;
        }
        let (start, length) = chunk.byte_range();
        let rows_of_group = u64::try_from(group.num_rows()).ok()?;
        groups.push((u32::try_from(first_row).ok()?, start));
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
            let in_page = |stored: &StoredRow| u64::from(stored.row()) < first_row + rows_to;
            let Some(stored) = decoded.next_if(in_page) else { continue };
            if decoded.peek().is_some_and(in_page) {
                return None;
            }
            let page_bytes = page_end - page_start;
            let row = stored.row() as usize;
            let bytes = match stored.codec() {
                PixelCodec::Raw => (value_bytes + 1..2 * value_bytes)
                    .contains(&page_bytes)
                    .then_some(value_bytes)?,
                PixelCodec::Jpeg => {
                    let bytes = u32::try_from(page_bytes).ok().filter(|bytes| bytes & IS_JPEG == 0);
                    *lengths.get_mut(row)? = bytes? | IS_JPEG;
                    page_bytes
                }
            };
            let in_group = u32::try_from(page_end - bytes - start).ok();
            *starts.get_mut(row)? = in_group.filter(|&start| start != NO_PIXELS)?;
        }
        first_row += rows_of_group;
    }
    let raw_bytes = value_bytes.try_into().ok()?;
    decoded.next().is_none().then_some(Addresses { groups, starts, lengths, raw_bytes })
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

/// The JPEG that an uncompressed, plainly encoded page with one value ends with. It stands where four bytes say just as many
/// bytes as are left of the page, and those begin as a JPEG does: seven bytes that no header has by chance, and whose only
/// other reading would be a JPEG that is not one. So the header's optional fields, statistics and checksum, need not be known.
///
/// # Errors
/// There is none: the page is damaged, or holds something else.
pub(super) fn last_value(page: &[u8]) -> Result<&[u8]> {
    const START_OF_IMAGE: [u8; 3] = [0xff, 0xd8, 0xff];
    let mut starts = 0..page.len().min(BEFORE_VALUE_BYTES);
    let value = starts.find_map(|start| {
        let (length, value) = page[start..].split_first_chunk::<4>()?;
        let is_rest = u32::from_le_bytes(*length) as usize == value.len();
        (is_rest && value.starts_with(&START_OF_IMAGE)).then_some(value)
    });
    value.with_context(|| {
        format!("expected a page that ends with one JPEG and its length before it, found none in {} bytes", page.len())
    })
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
    use parquet::file::properties::{
        EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
    };
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

    fn table(
        file: &Bytes,
        pixel_bytes: usize,
        pixels: &[Option<Vec<u8>>],
        codec: PixelCodec,
    ) -> Option<Addresses> {
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = reader.parse_and_finish(file).unwrap();
        let held = (0..).zip(pixels).filter(|(_, pixels)| pixels.is_some());
        let decoded: Vec<_> = held.map(|(row, _)| StoredRow::new(row, codec).unwrap()).collect();
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
            let table = table(&file, PIXEL_BYTES, &pixels, PixelCodec::Raw);
            let table = table.expect("the layout is the stream's own");
            assert_eq!(table.of(pixels.len() as u32), None);
            let values = (0..pixels.len() as u32)
                .map(|row| table.of(row).map(|address| bytes_at(&file, address)));
            let length = (PIXEL_BYTES as u32).to_le_bytes();
            let expected =
                pixels.iter().map(|pixels| pixels.as_ref().map(|p| [&length, &p[..]].concat()));
            assert!(values.eq(expected));
        }
    }

    fn bytes_at(file: &Bytes, address: Address) -> Vec<u8> {
        file[address.start as usize..][..address.bytes as usize].to_vec()
    }

    #[test]
    fn a_jpeg_of_any_length_is_found_at_the_end_of_its_page() {
        let statistics = one_value_a_page()
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_write_page_header_statistics(true);
        let version_2 = one_value_a_page()
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_column_encoding(ColumnPath::from("pixels"), Encoding::PLAIN);
        for properties in [one_value_a_page(), statistics, version_2] {
            let jpegs: Vec<_> = (0..)
                .zip(pixels())
                .map(|(row, pixels)| {
                    pixels.map(|p| [&[0xff, 0xd8, 0xff], &p[..row * 7 % 290]].concat())
                })
                .collect();
            let file = file(properties, &jpegs);
            let table = table(&file, PIXEL_BYTES, &jpegs, PixelCodec::Jpeg);
            let table = table.expect("the layout is the stream's own");
            for (row, jpeg) in (0..).zip(&jpegs) {
                let page = table.of(row).map(|address| bytes_at(&file, address));
                assert_eq!(page.as_deref().map(|page| last_value(page).unwrap()), jpeg.as_deref());
            }
        }
        for damaged in [&[][..], &[0xff; 700], b"\x03\0\0\0abc", b"\x04\0\0\0\xff\xd8\xff"] {
            let error = last_value(damaged).unwrap_err().to_string();
            assert!(error.contains("expected a page that ends with one JPEG"), "{error}");
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
            let file = file(properties, &all);
            assert_eq!(table(&file, PIXEL_BYTES, &all, PixelCodec::Raw), None, "{what}");
        }
    }

    #[test]
    fn pages_that_do_not_hold_what_the_light_columns_say_are_left_to_the_general_path() {
        let pixels = pixels();
        let file = file(one_value_a_page(), &pixels);
        assert_eq!(
            table(&file, PIXEL_BYTES + 100, &pixels, PixelCodec::Raw),
            None,
            "values shorter than the images' size"
        );
        assert_eq!(
            table(&file, PIXEL_BYTES / 3, &pixels, PixelCodec::Raw),
            None,
            "values longer than the images' size"
        );
        let all = vec![Some(Vec::new()); 40];
        assert_eq!(
            table(&file, PIXEL_BYTES, &all, PixelCodec::Raw),
            None,
            "rows said to be decoded, whose page holds another's value"
        );
    }
}
