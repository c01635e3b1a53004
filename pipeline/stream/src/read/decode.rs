//! The general path to pixels. In: rows of a Parquet file of any layout. Out: their pixels, decoded by the parquet crate from
//! the pages that hold them (all pages of a row group if the file has no offset index). Never assumes how a page looks.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use arrow::array::{Array, AsArray, BinaryViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelectionPolicy,
};
use parquet::arrow::push_decoder::ParquetPushDecoderBuilder;
use parquet::file::metadata::ParquetMetaData;

use super::checksums::Checksums;
use super::data_file::DataFile;
use super::scan::{PIXELS, StoredRow, next_batch};
use super::slots::{Pick, Slots};

/// Rows decoded at once: 38.5 MB of pixels at 224 px, and no binary array overflows.
const DECODE_BATCH_ROWS: usize = 256;

/// How the parquet crate reads the pixels of one file.
pub(super) struct ParquetPixels {
    metadata: ArrowReaderMetadata,
    /// The rows that hold pixels, ascending.
    stored: Vec<StoredRow>,
}

impl ParquetPixels {
    /// Of the file with `footer`, whose rows `stored` hold pixels, ascending.
    pub(super) fn new(footer: Arc<ParquetMetaData>, stored: Vec<StoredRow>) -> Result<Self> {
        Ok(Self { metadata: with_pixels_as_views(footer)?, stored })
    }

    /// Puts the pixels of `picks`, which all lie in `file` and are sorted by row, into their `slots`. Its row groups begin at
    /// `group_starts`.
    pub(super) fn read_rows(
        &self,
        file: &DataFile,
        group_starts: &[u32],
        checksums: &Checksums,
        picks: &[Pick],
        slots: &mut Slots<'_>,
    ) -> Result<()> {
        let (groups, selection) = select(group_starts, picks);
        let mut decoder = ParquetPushDecoderBuilder::new_with_metadata(self.metadata.clone())
            .with_projection(ProjectionMask::columns(self.metadata.parquet_schema(), [PIXELS]))
            .with_row_groups(groups)
            .with_row_selection(selection)
            .with_row_selection_policy(RowSelectionPolicy::Selectors)
            .with_batch_size(DECODE_BATCH_ROWS.min(picks.len()))
            .build()?;
        let mut wanted = picks.chunk_by(|a, b| a.row == b.row);
        while let Some(batch) = next_batch(&mut decoder, file)? {
            let pixels: &BinaryViewArray = batch.column(0).as_binary_view();
            for index in 0..pixels.len() {
                let same_row = wanted.next().context("more rows came back than were asked for")?;
                let row = same_row[0].row;
                ensure!(pixels.is_valid(index), "expected pixels, found null");
                let at = self.stored.binary_search_by_key(&row, |stored| stored.row());
                let at = at.map_err(|_| anyhow!("expected pixels, found none"))?;
                let value = pixels.value(index);
                checksums.verify(row, value)?;
                slots.place(self.stored[at].codec(), value, same_row)?;
            }
        }
        ensure!(wanted.next().is_none(), "fewer rows came back than were asked for");
        Ok(())
    }

    /// The bytes of the file that hold the pixels of row group `group`.
    pub(super) fn range_of_group(&self, group: usize) -> Option<Range<u64>> {
        let columns = self.metadata.metadata().row_group(group).columns();
        let pixels = columns.iter().find(|column| column.column_path().parts() == [PIXELS])?;
        let (start, length) = pixels.byte_range();
        Some(start..start + length)
    }
}

/// Reads `footer` so that pixels come as views into their pages, which saves a copy.
fn with_pixels_as_views(footer: Arc<ParquetMetaData>) -> Result<ArrowReaderMetadata> {
    let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(&footer), plain)?;
    let fields = metadata.schema().fields().iter().map(|field| match field.name().as_str() {
        PIXELS => Arc::new(Field::clone(field).with_data_type(DataType::BinaryView)),
        _ => Arc::clone(field),
    });
    let schema =
        Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata.schema().metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(footer, options).context("column `pixels` is not binary")
}

/// The row groups that hold `picks`, and the rows among theirs.
fn select(group_starts: &[u32], picks: &[Pick]) -> (Vec<usize>, RowSelection) {
    let mut groups: Vec<usize> = Vec::new();
    let mut ranges = Vec::with_capacity(picks.len());
    let mut rows_before = 0_usize;
    for same_row in picks.chunk_by(|a, b| a.row == b.row) {
        let row = same_row[0].row;
        let group = group_starts.partition_point(|&start| start <= row) - 1;
        if groups.last() != Some(&group) {
            rows_before += groups.last().map_or(0, |&last| rows_of(group_starts, last));
            groups.push(group);
        }
        let place = rows_before + (row - group_starts[group]) as usize;
        ranges.push(place..place + 1);
    }
    let n_rows = groups.iter().map(|&group| rows_of(group_starts, group)).sum();
    (groups, RowSelection::from_consecutive_ranges(ranges.into_iter(), n_rows))
}

fn rows_of(group_starts: &[u32], group: usize) -> usize {
    (group_starts[group + 1] - group_starts[group]) as usize
}
