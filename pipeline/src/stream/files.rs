//! Pixels by row. In: rows of the images table. Out: their pixels in the slots of a batch, by the fastest way the file allows:
//! copied from the mapped file, read by range requests, or decoded; JPEGs are decoded into the batch itself. Never decides which
//! rows, or in which order.

use std::ops::Range;
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::PageIndexPolicy;

use super::ReadPath;
use super::addresses::{Address, LENGTH_BYTES, addresses, last_value};
use super::images::{PIXELS, ScannedFile, StoredRow, footer};
use super::source::{Mapped, Remote, Source};
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

struct ImageFile {
    path: String,
    source: Source,
    group_starts: Vec<u32>,
    /// Rows that hold pixels, ascending; what the address table is made from, and empty once that is done.
    decoded: Mutex<Vec<StoredRow>>,
    /// Made when the first row is read: a corpus has more files than a batch touches.
    pixels: OnceLock<Pixels>,
}

/// How a file's pixels are reached.
enum Pixels {
    /// Address of each row's pixels, none for rows without.
    Direct(Vec<Option<Address>>),
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
            let n_rows = scanned.group_starts.last().copied().unwrap_or(0);
            let start = starts.last().copied().and_then(|start| start.checked_add(n_rows));
            starts.push(start.with_context(|| format!("{label}: it has more than 2^32 rows"))?);
            files.push(ImageFile {
                path: live.path,
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
    /// kernel is told of all rows before the first is read.
    ///
    /// # Errors
    /// A file is gone, is shorter or longer than the Delta log says, or does not hold the rows; the message names the table,
    /// its version, the file, and the row where it is known.
    pub(super) fn fill(&self, picks: &mut [Pick], out: &mut [u8], cold: bool) -> Result<()> {
        picks.sort_unstable_by_key(|pick| (pick.file, pick.row));
        if cold {
            self.advise(picks)?;
        }
        let mut remote = Vec::new();
        for of_file in picks.chunk_by(|a, b| a.file == b.file) {
            let file = self.file(of_file);
            let mut read = || -> Result<()> {
                match (file.pixels(self.read_path, self.pixel_bytes)?, &file.source) {
                    (Pixels::Direct(table), Source::Mapped(mapped)) => {
                        file.source.check()?;
                        copy_rows(mapped, table, of_file, self.pixel_bytes, out)
                    }
                    (Pixels::Direct(table), Source::Remote(source)) => {
                        remote.push(RemoteRows::new(file, source, table, of_file)?);
                        Ok(())
                    }
                    (Pixels::Decoded(metadata, stored), source) => {
                        let groups = &file.group_starts;
                        decode::decode_rows(
                            source,
                            metadata,
                            groups,
                            stored,
                            of_file,
                            self.pixel_bytes,
                            out,
                        )
                    }
                }
            };
            read().with_context(|| self.place_of(file))?;
        }
        self.fetch(&remote, out)?;
        copy::finish();
        Ok(())
    }

    fn file(&self, of_file: &[Pick]) -> &ImageFile {
        &self.files[of_file[0].file as usize]
    }

    fn place_of(&self, file: &ImageFile) -> String {
        format!("{}, file {}", self.label, file.path)
    }

    /// Tells the kernel of all rows that lie in mapped files under known addresses.
    fn advise(&self, picks: &[Pick]) -> Result<()> {
        for of_file in picks.chunk_by(|a, b| a.file == b.file) {
            let file = self.file(of_file);
            let pixels = file.pixels(self.read_path, self.pixel_bytes);
            let pixels = pixels.with_context(|| self.place_of(file))?;
            if let (Pixels::Direct(table), Source::Mapped(mapped)) = (pixels, &file.source) {
                for pick in of_file {
                    if let Some(address) = table[pick.row as usize] {
                        mapped.will_need(address.start as usize, address.bytes as usize);
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the rows of remote files, several files at once.
    fn fetch(&self, remote: &[RemoteRows<'_>], out: &mut [u8]) -> Result<()> {
        let Some(first) = remote.first() else { return Ok(()) };
        let requests = remote.iter().map(|rows| async move {
            let parts = rows.source.read(&rows.ranges).await;
            Ok::<_, anyhow::Error>((rows, parts.with_context(|| self.place_of(rows.file))?))
        });
        let answers = stream::iter(requests).buffer_unordered(REMOTE_FILES).try_collect::<Vec<_>>();
        for (rows, parts) in first.source.handle().block_on(answers)? {
            rows.copy(&parts, self.pixel_bytes, out).with_context(|| self.place_of(rows.file))?;
        }
        Ok(())
    }
}

impl ImageFile {
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
            ReadPath::Fastest | ReadPath::Ranges => {
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

/// Copies rows of a mapped file.
fn copy_rows(
    mapped: &Mapped,
    table: &[Option<Address>],
    picks: &[Pick],
    pixel_bytes: usize,
    out: &mut [u8],
) -> Result<()> {
    let bytes = mapped.bytes();
    for same_row in picks.chunk_by(|a, b| a.row == b.row) {
        let row = same_row[0].row;
        let address = address_of(table, row)?;
        let bytes = &bytes[address.start as usize..][..address.bytes as usize];
        let value = value_of(address.codec, bytes, row, pixel_bytes)?;
        place(address.codec, value, same_row, pixel_bytes, out)?;
    }
    Ok(())
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
        table: &[Option<Address>],
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
            let value = value_of(*codec, bytes, pick.row, pixel_bytes)?;
            place(*codec, value, std::slice::from_ref(pick), pixel_bytes, out)?;
        }
        Ok(())
    }
}

fn address_of(table: &[Option<Address>], row: u32) -> Result<Address> {
    table[row as usize].with_context(|| format!("row {row}: expected pixels, found a page without"))
}

/// The value of a row in the bytes that stand at its [`Address`].
fn value_of(codec: PixelCodec, bytes: &[u8], row: u32, pixel_bytes: usize) -> Result<&[u8]> {
    if codec == PixelCodec::Jpeg {
        return last_value(bytes).with_context(|| format!("row {row}"));
    }
    let (length, pixels) = bytes.split_at(LENGTH_BYTES as usize);
    ensure!(
        length == (pixel_bytes as u32).to_le_bytes(),
        "row {row}: expected the length {pixel_bytes} before its pixels, found the bytes {length:?}"
    );
    Ok(pixels)
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
    let row = first.row;
    if codec == PixelCodec::Jpeg {
        decode_stored(codec, value, first.slot_of(out, pixel_bytes))
            .with_context(|| format!("row {row}"))?;
        for other in others {
            out.copy_within(first.range(pixel_bytes), other.range(pixel_bytes).start);
        }
        return Ok(());
    }
    ensure!(
        value.len() == pixel_bytes,
        "row {row}: expected {pixel_bytes} bytes of pixels, found {}",
        value.len()
    );
    for pick in picks {
        copy::stream(value, pick.slot_of(out, pixel_bytes));
    }
    Ok(())
}
