//! One file of the images table. In: what the scan has found of it. Out: how its pixels are reached, found out when its first row
//! is read, and a row's pixels from the bytes that hold them. Never decides which rows.

use std::ops::Range;
use std::sync::{Arc, Mutex, Once, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use super::addresses::{Addresses, LENGTH_BYTES, addresses, last_value};
use super::checksums::Checksums;
use super::data_file::DataFile;
use super::decode::ParquetPixels;
use super::scan::{PIXELS, ScannedFile, StoredRow, footer};
use super::slots::{Pick, Slots};
use tuwen_settings::{PixelCodec, ReadPath};

/// One file of the images table.
pub(super) struct ImageFile {
    pub(super) path: String,
    pub(super) data_file: DataFile,
    pub(super) group_starts: Vec<u32>,
    pub(super) checksums: Checksums,
    /// Rows that hold pixels, ascending; what the address table is made from, and empty once that is done.
    decoded: Mutex<Vec<StoredRow>>,
    /// Made when the first row is read: a corpus has more files than a batch touches.
    pixels: OnceLock<Pixels>,
}

/// How a file's pixels are reached.
pub(super) enum Pixels {
    /// By their addresses.
    Direct(Addresses),
    /// Through the parquet crate.
    Decoded(ParquetPixels),
}

impl ImageFile {
    /// The file at `path`, as the scan has found it, whose wanted rows hold squares of `pixel_bytes` bytes once decoded.
    pub(super) fn new(
        path: String,
        scanned: ScannedFile,
        read_path: ReadPath,
        pixel_bytes: usize,
    ) -> Self {
        let file = Self {
            path,
            checksums: Checksums::new(scanned.crcs),
            decoded: Mutex::new(scanned.decoded),
            pixels: OnceLock::new(),
            data_file: scanned.data_file,
            group_starts: scanned.group_starts,
        };
        if let Some(footer) = scanned.footer.filter(|_| pixel_bytes > 0) {
            // If it is unfit, the batch says so that needs a row of it.
            drop(file.prepare(footer, read_path, pixel_bytes));
        }
        file
    }

    /// Puts the pixels of a row, whose [`Address`](super::addresses::Address) has `bytes`, into the slots of `same_row`.
    pub(super) fn put(
        &self,
        codec: PixelCodec,
        bytes: &[u8],
        same_row: &[Pick],
        slots: &mut Slots<'_>,
    ) -> Result<()> {
        let value = value_of(codec, bytes, slots.pixel_bytes())?;
        self.checksums.verify(same_row[0].row, value)?;
        slots.place(codec, value, same_row)
    }

    /// How its pixels are reached; the first call reads the footer and the offset index, unless the scan did.
    pub(super) fn pixels(&self, read_path: ReadPath, pixel_bytes: usize) -> Result<&Pixels> {
        match self.pixels.get() {
            Some(pixels) => Ok(pixels),
            None => {
                let footer = footer(&self.data_file, PageIndexPolicy::Optional)?;
                self.prepare(Arc::new(footer), read_path, pixel_bytes)
            }
        }
    }

    /// Finds out how its pixels are reached.
    fn prepare(
        &self,
        footer: Arc<ParquetMetaData>,
        read_path: ReadPath,
        pixel_bytes: usize,
    ) -> Result<&Pixels> {
        let mut decoded =
            self.decoded.lock().map_err(|_| anyhow!("another reader panicked in it"))?;
        if let Some(pixels) = self.pixels.get() {
            return Ok(pixels);
        }
        let columns = footer.file_metadata().schema_descr().columns();
        let column = columns.iter().position(|column| column.path().parts() == [PIXELS]);
        let column = column.context("it has no column `pixels` (schemas/images.sql)")?;
        let direct = match read_path {
            ReadPath::General => None,
            ReadPath::Fastest | ReadPath::Pread | ReadPath::Ranges => {
                let file_bytes = self.data_file.size_bytes();
                addresses(&footer, file_bytes, column, pixel_bytes as u64, &decoded)
            }
        };
        let pixels = match direct {
            Some(table) => Pixels::Direct(table),
            None => {
                if read_path != ReadPath::General {
                    say_slow(&self.path);
                }
                Pixels::Decoded(ParquetPixels::new(footer, decoded.clone())?)
            }
        };
        *decoded = Vec::new();
        Ok(self.pixels.get_or_init(|| pixels))
    }
}

/// Says, once a process, that a file has lost the layout that pixels are copied from.
fn say_slow(path: &str) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            "table `images`, file {path}: not in tuwen's layout (another tool has rewritten it?), so its images are decoded and not \
             copied, which is hundreds of times slower\n\
             hint: `tuwen optimize` rewrites such files"
        );
    });
}

impl Pixels {
    /// The bytes of the file that hold `picks`, which are sorted by row: each row's, or whole row groups where a row's are not
    /// known.
    pub(super) fn ranges(&self, group_starts: &[u32], picks: &[Pick]) -> Vec<Range<u64>> {
        match self {
            Self::Direct(table) => {
                let addresses = picks.iter().filter_map(|pick| table.of(pick.row));
                addresses.map(|a| a.start..a.start + u64::from(a.bytes)).collect()
            }
            Self::Decoded(parquet) => {
                let group_of =
                    |pick: &Pick| group_starts.partition_point(|&start| start <= pick.row) - 1;
                let groups = picks.chunk_by(|a, b| group_of(a) == group_of(b));
                groups.filter_map(|picks| parquet.range_of_group(group_of(&picks[0]))).collect()
            }
        }
    }
}

/// The value of a row in the bytes that stand at its [`Address`](super::addresses::Address).
fn value_of(codec: PixelCodec, bytes: &[u8], pixel_bytes: usize) -> Result<&[u8]> {
    if codec == PixelCodec::Jpeg {
        return last_value(bytes);
    }
    let (length, pixels) = bytes.split_at(LENGTH_BYTES as usize);
    check_length(length, pixel_bytes)?;
    Ok(pixels)
}

/// Says whether `length`, as it stands before a raw value, is that of `pixel_bytes`.
pub(super) fn check_length(length: &[u8], pixel_bytes: usize) -> Result<()> {
    ensure!(
        length == (pixel_bytes as u32).to_le_bytes(),
        "expected the length {pixel_bytes} before its pixels, found the bytes {length:?}"
    );
    Ok(())
}
