//! Pixels by row. In: rows of the images table. Out: their pixels in the slots of a batch, by the fastest way the file allows:
//! copied from the mapped file, read by range requests, or decoded; JPEGs are decoded into the batch itself. Never decides which
//! rows, or in which order.

use std::ops::Range;
use std::slice;
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::PageIndexPolicy;

use super::ReadPath;
use super::addresses::{Address, Addresses, LENGTH_BYTES, addresses, last_value};
use super::faults::{self, Bad};
use super::images::{PIXELS, ScannedFile, StoredRow, footer};
use super::source::{self, Mapped, Pread, Remote, Source};
use super::tables::LiveFile;
use super::{copy, decode};
use crate::decode::decode_stored;
use crate::settings::PixelCodec;

/// Files of a remote table read at once for one batch.
const REMOTE_FILES: usize = 16;

/// A row to be read, and where in the batch it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    /// Index of the file.
    pub(super) file: u32,
    /// Row within the file.
    pub(super) row: u32,
    /// Place in the batch.
    pub(super) slot: u32,
}

impl Pick {
    /// Its bytes of the batch.
    pub(super) fn slot_of<'a>(&self, out: &'a mut [u8], pixel_bytes: usize) -> &'a mut [u8] {
        &mut out[self.range(pixel_bytes)]
    }

    fn range(&self, pixel_bytes: usize) -> Range<usize> {
        let start = self.slot as usize * pixel_bytes;
        start..start + pixel_bytes
    }
}

/// The files of the images table.
pub(super) struct ImageFiles {
    label: String,
    read_path: ReadPath,
    pixel_bytes: usize,
    files: Vec<ImageFile>,
    /// The number of the first row of each file, counted over all files, and at last the number of rows.
    starts: Vec<u32>,
}

/// One file of the images table.
pub(super) struct ImageFile {
    path: String,
    pub(super) source: Source,
    pub(super) group_starts: Vec<u32>,
    /// CRC-32 of each row's pixels; empty if they are not checked.
    crcs: Vec<u32>,
    /// Rows that hold pixels, ascending; what the address table is made from, and empty once that is done.
    decoded: Mutex<Vec<StoredRow>>,
    /// Made when the first row is read: a corpus has more files than a batch touches.
    pixels: OnceLock<Pixels>,
}

/// How a file's pixels are reached.
enum Pixels {
    /// By their addresses.
    Direct(Addresses),
    /// Through the parquet crate; the rows that hold pixels, ascending.
    Decoded(ArrowReaderMetadata, Vec<StoredRow>),
}

impl ImageFiles {
    /// The files of the table that messages call `label`, all of whose wanted rows hold squares of `pixel_bytes` bytes once decoded.
    pub(super) fn new(
        label: String,
        read_path: ReadPath,
        pixel_bytes: usize,
        live: Vec<LiveFile>,
        scanned: Vec<ScannedFile>,
    ) -> Result<Self> {
        let mut starts = vec![0_u32];
        let mut files = Vec::with_capacity(live.len());
        for (live, scanned) in live.into_iter().zip(scanned) {
            let start =
                starts.last().copied().and_then(|start| start.checked_add(scanned.n_rows()));
            starts.push(start.with_context(|| format!("{label}: it has more than 2^32 rows"))?);
            files.push(ImageFile {
                path: live.path,
                crcs: scanned.crcs(),
                source: scanned.source,
                group_starts: scanned.group_starts,
                decoded: Mutex::new(scanned.rows.iter().map(|row| row.stored).collect()),
                pixels: OnceLock::new(),
            });
        }
        Ok(Self { label, read_path, pixel_bytes, files, starts })
    }

    /// Where every row group begins, counted over all files, and at last the number of rows.
    pub(super) fn group_starts(&self) -> Vec<u32> {
        let groups = self.files.iter().zip(&self.starts).flat_map(|(file, start)| {
            let (_, firsts) = file.group_starts.split_last().unwrap_or((&0, &[]));
            firsts.iter().map(move |first| start + first)
        });
        groups.chain(self.starts.last().copied()).collect()
    }

    /// The file and row within it of the row numbered `row` over all files, to be read into `slot`.
    pub(super) fn pick(&self, row: u32, slot: u32) -> Pick {
        let file = self.starts.partition_point(|&start| start <= row) - 1;
        Pick { file: file as u32, row: row - self.starts[file], slot }
    }

    /// Reads `picks` into their slots of `out`, which has room for as many rows; sorts them by where they lie. With `cold` the
    /// kernel is told of all rows before the first is read. Gives back the picks that cannot be read: their file is gone, is
    /// shorter or longer than the Delta log says, or does not hold the row; their slots hold anything.
    ///
    /// # Errors
    /// A store does not answer.
    pub(super) fn fill(&self, picks: &mut [Pick], out: &mut [u8], cold: bool) -> Result<Vec<Bad>> {
        picks.sort_unstable_by_key(|pick| (pick.file, pick.row));
        if cold {
            self.advise(picks);
        }
        let bad = self.read(picks, out);
        copy::finish();
        bad
    }

    /// As [`Self::fill`], of sorted picks, before the copies are finished.
    fn read(&self, picks: &[Pick], out: &mut [u8]) -> Result<Vec<Bad>> {
        let (mut bad, mut remote) = (Vec::new(), Vec::new());
        for of_file in picks.chunk_by(|a, b| a.file == b.file) {
            let file = self.file(of_file);
            let read = match (self.pixels(file), &file.source) {
                (Ok(Pixels::Direct(table)), Source::Remote(source)) => {
                    RemoteRows::new(file, source, table, of_file).map(|rows| remote.push(rows))
                }
                _ => self.read_rows(file, of_file, out),
            };
            if read.is_err() {
                self.read_singly(file, of_file, out, &mut bad)?;
            }
        }
        self.fetch(&remote, out, &mut bad)?;
        Ok(bad)
    }

    /// Reads rows that lie in one file; all or an error.
    pub(super) fn read_rows(&self, file: &ImageFile, picks: &[Pick], out: &mut [u8]) -> Result<()> {
        match (self.pixels(file)?, &file.source) {
            (Pixels::Direct(table), Source::Mapped(mapped)) => {
                mapped.check()?;
                self.copy_rows(file, mapped, table, picks, out)
            }
            (Pixels::Direct(table), Source::Pread(source)) => {
                self.pread_rows(file, source, table, picks, out)
            }
            (Pixels::Direct(table), Source::Remote(source)) => {
                let rows = RemoteRows::new(file, source, table, picks)?;
                rows.copy(&file.source.read(&rows.ranges)?, self.pixel_bytes, out)
            }
            (Pixels::Decoded(metadata, stored), _) => {
                decode::decode_rows(file, metadata, stored, picks, self.pixel_bytes, out)
            }
        }
    }

    fn file(&self, of_file: &[Pick]) -> &ImageFile {
        &self.files[of_file[0].file as usize]
    }

    /// Where a row lies, in words.
    pub(super) fn place_of_row(&self, file: &ImageFile, row: u32) -> String {
        let group = file.group_starts.partition_point(|&start| start <= row).saturating_sub(1);
        format!("{}, file {}, row group {group}, row {row}", self.label, file.path)
    }

    fn pixels<'a>(&self, file: &'a ImageFile) -> Result<&'a Pixels> {
        file.pixels(self.read_path, self.pixel_bytes)
    }

    /// Tells the kernel of all rows that lie in mapped files under known addresses. A file of which nothing can be known is left
    /// to the read that follows.
    fn advise(&self, picks: &[Pick]) {
        for of_file in picks.chunk_by(|a, b| a.file == b.file) {
            let file = self.file(of_file);
            if let (Ok(Pixels::Direct(table)), Source::Mapped(mapped)) =
                (self.pixels(file), &file.source)
            {
                for pick in of_file {
                    if let Some(address) = table.of(pick.row) {
                        mapped.will_need(address.start as usize, address.bytes as usize);
                    }
                }
            }
        }
    }

    /// Reads the rows of remote files, several files at once.
    fn fetch(&self, remote: &[RemoteRows<'_>], out: &mut [u8], bad: &mut Vec<Bad>) -> Result<()> {
        let Some(first) = remote.first() else { return Ok(()) };
        let requests =
            remote.iter().map(|rows| async move { (rows, rows.source.read(&rows.ranges).await) });
        let answers = stream::iter(requests).buffer_unordered(REMOTE_FILES).collect::<Vec<_>>();
        for (rows, parts) in first.source.handle().block_on(answers) {
            if parts.and_then(|parts| rows.copy(&parts, self.pixel_bytes, out)).is_err() {
                self.read_singly(rows.file, rows.picks, out, bad)?;
            }
        }
        Ok(())
    }

    /// Copies rows of a mapped file.
    fn copy_rows(
        &self,
        file: &ImageFile,
        mapped: &Mapped,
        table: &Addresses,
        picks: &[Pick],
        out: &mut [u8],
    ) -> Result<()> {
        let bytes = mapped.bytes();
        for same_row in picks.chunk_by(|a, b| a.row == b.row) {
            let address = address_of(table, same_row[0].row)?;
            let bytes = &bytes[address.start as usize..][..address.bytes as usize];
            file.put(address.codec, bytes, same_row, self.pixel_bytes, out)?;
        }
        Ok(())
    }

    /// Reads rows by calls: raw pixels into their slots, JPEGs into a buffer.
    fn pread_rows(
        &self,
        file: &ImageFile,
        source: &Pread,
        table: &Addresses,
        picks: &[Pick],
        out: &mut [u8],
    ) -> Result<()> {
        let mut open = source.open_checked()?;
        let mut page = Vec::new();
        for pick in picks {
            let address = address_of(table, pick.row)?;
            if address.codec == PixelCodec::Jpeg {
                page.resize(address.bytes as usize, 0);
                source::read_at(&mut open, address.start, &mut page)?;
                file.put(address.codec, &page, slice::from_ref(pick), self.pixel_bytes, out)?;
                continue;
            }
            let mut length = [0; LENGTH_BYTES as usize];
            let slot = pick.slot_of(out, self.pixel_bytes);
            source::read_at(&mut open, address.start, &mut length)?;
            check_length(&length, self.pixel_bytes)?;
            source::read_at(&mut open, address.start + LENGTH_BYTES, slot)?;
            file.verify(pick.row, slot)?;
        }
        Ok(())
    }
}

impl ImageFile {
    /// Checks the pixels of `row`, if that is asked for.
    pub(super) fn verify(&self, row: u32, pixels: &[u8]) -> Result<()> {
        match self.crcs.get(row as usize) {
            Some(&crc) => faults::check_crc(pixels, crc),
            None => Ok(()),
        }
    }

    /// Puts the pixels of a row, whose [`Address`] has `bytes`, into the slots of `same_row`.
    fn put(
        &self,
        codec: PixelCodec,
        bytes: &[u8],
        same_row: &[Pick],
        pixel_bytes: usize,
        out: &mut [u8],
    ) -> Result<()> {
        let value = value_of(codec, bytes, pixel_bytes)?;
        self.verify(same_row[0].row, value)?;
        place(codec, value, same_row, pixel_bytes, out)
    }

    /// How its pixels are reached; the first call reads the footer and the offset index.
    fn pixels(&self, read_path: ReadPath, pixel_bytes: usize) -> Result<&Pixels> {
        if let Some(pixels) = self.pixels.get() {
            return Ok(pixels);
        }
        let mut decoded =
            self.decoded.lock().map_err(|_| anyhow!("another reader panicked in it"))?;
        if let Some(pixels) = self.pixels.get() {
            return Ok(pixels);
        }
        let footer = footer(&self.source, PageIndexPolicy::Optional)?;
        let columns = footer.file_metadata().schema_descr().columns();
        let column = columns.iter().position(|column| column.path().parts() == [PIXELS]);
        let column = column.context("it has no column `pixels` (schemas/images.sql)")?;
        let direct = match read_path {
            ReadPath::General => None,
            ReadPath::Fastest | ReadPath::Pread | ReadPath::Ranges => {
                let file_bytes = self.source.size_bytes();
                addresses(&footer, file_bytes, column, pixel_bytes as u64, &decoded)
            }
        };
        let pixels = match direct {
            Some(table) => Pixels::Direct(table),
            None => Pixels::Decoded(decode::metadata(footer)?, decoded.clone()),
        };
        *decoded = Vec::new();
        Ok(self.pixels.get_or_init(|| pixels))
    }
}

/// The rows of one remote file that a batch needs.
struct RemoteRows<'a> {
    file: &'a ImageFile,
    source: &'a Remote,
    picks: &'a [Pick],
    codecs: Vec<PixelCodec>,
    ranges: Vec<Range<u64>>,
}

impl<'a> RemoteRows<'a> {
    fn new(
        file: &'a ImageFile,
        source: &'a Remote,
        table: &Addresses,
        picks: &'a [Pick],
    ) -> Result<Self> {
        let addresses = picks.iter().map(|pick| address_of(table, pick.row));
        let addresses = addresses.collect::<Result<Vec<_>>>()?;
        let range = |address: &Address| address.start..address.start + u64::from(address.bytes);
        let (codecs, ranges) = addresses.iter().map(|a| (a.codec, range(a))).unzip();
        Ok(Self { file, source, picks, codecs, ranges })
    }

    fn copy(&self, parts: &[Bytes], pixel_bytes: usize, out: &mut [u8]) -> Result<()> {
        for ((pick, bytes), codec) in self.picks.iter().zip(parts).zip(&self.codecs) {
            self.file.put(*codec, bytes, slice::from_ref(pick), pixel_bytes, out)?;
        }
        Ok(())
    }
}

fn address_of(table: &Addresses, row: u32) -> Result<Address> {
    table.of(row).context("expected pixels, found a page without")
}

/// The value of a row in the bytes that stand at its [`Address`].
fn value_of(codec: PixelCodec, bytes: &[u8], pixel_bytes: usize) -> Result<&[u8]> {
    if codec == PixelCodec::Jpeg {
        return last_value(bytes);
    }
    let (length, pixels) = bytes.split_at(LENGTH_BYTES as usize);
    check_length(length, pixel_bytes)?;
    Ok(pixels)
}

fn check_length(length: &[u8], pixel_bytes: usize) -> Result<()> {
    ensure!(
        length == (pixel_bytes as u32).to_le_bytes(),
        "expected the length {pixel_bytes} before its pixels, found the bytes {length:?}"
    );
    Ok(())
}

/// Puts the pixels that `value` holds under `codec` into the slots of `picks`, which are all of one row.
pub(super) fn place(
    codec: PixelCodec,
    value: &[u8],
    picks: &[Pick],
    pixel_bytes: usize,
    out: &mut [u8],
) -> Result<()> {
    let Some((first, others)) = picks.split_first() else { return Ok(()) };
    if codec == PixelCodec::Jpeg {
        decode_stored(codec, value, first.slot_of(out, pixel_bytes))?;
        for other in others {
            out.copy_within(first.range(pixel_bytes), other.range(pixel_bytes).start);
        }
        return Ok(());
    }
    ensure!(
        value.len() == pixel_bytes,
        "expected {pixel_bytes} bytes of pixels, found {}",
        value.len()
    );
    for pick in picks {
        copy::stream(value, pick.slot_of(out, pixel_bytes));
    }
    Ok(())
}
