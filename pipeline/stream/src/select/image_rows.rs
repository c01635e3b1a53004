//! Where the images of a selection lie, on their way to it. In: the ids of each scanned file's decoded rows. Out: by id the row,
//! counted over all files, and the size.

use anyhow::Result;

use super::buckets::{Buckets, Row, bucket_of_id, take_bytes};
use crate::read::ImageId;

/// The decoded rows of all files.
pub(crate) struct ImageRows(Buckets<FileRow>);

/// A decoded row of a file.
struct FileRow {
    id: u128,
    file: u32,
    row: u32,
    size_px: u32,
}

/// A decoded row of the table.
pub(super) struct TableRow {
    /// Of the image.
    pub(super) id: u128,
    /// Counted over all files.
    pub(super) row: u32,
    /// Side in pixels.
    pub(super) size_px: u32,
}

impl Row for FileRow {
    const BYTES: usize = 28;

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.id.to_le_bytes());
        for number in [self.file, self.row, self.size_px] {
            bytes.extend(number.to_le_bytes());
        }
    }

    fn get(mut bytes: &[u8]) -> Self {
        let id = u128::from_le_bytes(take_bytes(&mut bytes));
        let [file, row, size_px] = [(); 3].map(|()| u32::from_le_bytes(take_bytes(&mut bytes)));
        Self { id, file, row, size_px }
    }
}

impl ImageRows {
    /// None yet.
    pub(crate) fn create() -> Result<Self> {
        Buckets::create().map(Self)
    }

    /// Adds the rows of file number `file`.
    pub(crate) fn add(&self, file: usize, ids: &[ImageId]) -> Result<()> {
        self.0.add(ids.iter().map(|&ImageId { id, row, size_px }| {
            (bucket_of_id(id), FileRow { id, file: file as u32, row, size_px })
        }))
    }

    /// Takes the rows of a bucket of ids, ascending by id, when the first row of each file is at `starts`. Of two rows with one id
    /// the first is there: they hold the same picture.
    pub(super) fn take(&self, bucket: usize, starts: &[u32]) -> Result<Vec<TableRow>> {
        let mut rows: Vec<TableRow> = self
            .0
            .take(bucket)?
            .into_iter()
            .map(|of_file| {
                let row = starts[of_file.file as usize] + of_file.row;
                TableRow { id: of_file.id, row, size_px: of_file.size_px }
            })
            .collect();
        rows.sort_unstable_by_key(|row| (row.id, row.row));
        rows.dedup_by_key(|row| row.id);
        Ok(rows)
    }
}
