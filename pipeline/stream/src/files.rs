//! Pixels by row. In: rows of the images table. Out: their pixels in the slots of a batch, by the fastest way the file allows:
//! copied from the mapped file, read by range requests, or decoded; JPEGs are decoded into the batch itself. Never decides which
//! rows, or in which order.

use std::ops::Range;
use std::slice;
use std::sync::{Arc, Mutex, Once, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use super::ReadPath;
use super::addresses::{Address, Addresses, LENGTH_BYTES, addresses, last_value};
use super::faults::{self, Bad};
use super::images::{PIXELS, ScannedFile, StoredRow, footer};
use super::slots::{Pick, Slots};
use super::source::{self, Mapped, Pread, Remote, Source, Span, joined};
use super::tables::LiveFile;
use super::{copy, decode};
use tuwen_settings::PixelCodec;

/// Files of a remote table read at once for one batch.
const REMOTE_FILES: usize = 16;

/// What brings rows ahead of their batches.
pub(super) struct Lookahead {
    /// Where the bytes are kept, until these are dropped.
    pub(super) spans: Vec<Span>,
    /// To be run.
    pub(super) requests: Vec<BoxFuture<'static, ()>>,
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
    /// The files of the table that messages call `label`, all of whose wanted rows hold squares of `pixel_bytes` bytes once
    /// decoded.
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
            let file = ImageFile {
                path: live.path,
                crcs: scanned.crcs(),
                source: scanned.source,
                group_starts: scanned.group_starts,
                decoded: Mutex::new(scanned.rows.iter().map(|row| row.stored).collect()),
                pixels: OnceLock::new(),
            };
            if let Some(footer) = scanned.footer.filter(|_| pixel_bytes > 0) {
                // If it is unfit, the batch says so that needs a row of it.
                drop(file.prepare(footer, read_path, pixel_bytes));
            }
            files.push(file);
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

    /// Whether they lie in an object store.
    pub(super) fn remote(&self) -> bool {
        self.files.iter().any(|file| file.source.is_remote())
    }

    /// The file and row within it of the row numbered `row` over all files, to be read into `slot`.
    pub(super) fn pick(&self, row: u32, slot: u32) -> Pick {
        let file = self.starts.partition_point(|&start| start <= row) - 1;
        Pick { file: file as u32, row: row - self.starts[file], slot }
    }

    /// Reads `picks` into their `slots`; sorts them by where they lie. With `cold` the kernel is told of all rows before the
    /// first is read. Gives back the picks that cannot be read: their file is gone, is shorter or longer than the Delta log
    /// says, or does not hold the row; their slots hold anything.
    ///
    /// # Errors
    /// A store does not answer.
    pub(super) fn fill(
        &self,
        picks: &mut [Pick],
        slots: &mut Slots<'_>,
        cold: bool,
    ) -> Result<Vec<Bad>> {
        picks.sort_unstable_by_key(|pick| (pick.file, pick.row));
        self.bring_near(picks, cold);
        let bad = self.read(picks, slots);
        copy::finish();
        bad
    }

    /// As [`Self::fill`], of sorted picks, before the copies are finished.
    fn read(&self, picks: &[Pick], slots: &mut Slots<'_>) -> Result<Vec<Bad>> {
        let (mut bad, mut remote) = (Vec::new(), Vec::new());
        for of_file in picks.chunk_by(|a, b| a.file == b.file) {
            let file = self.file(of_file);
            let read = match (self.pixels(file), &file.source) {
                (Ok(Pixels::Direct(table)), Source::Remote(source)) => {
                    RemoteRows::new(file, source, table, of_file).map(|rows| remote.push(rows))
                }
                _ => self.read_rows(file, of_file, slots),
            };
            if read.is_err() {
                self.read_singly(file, of_file, slots, &mut bad)?;
            }
        }
        self.fetch(&remote, slots, &mut bad)?;
        Ok(bad)
    }

    /// Reads rows that lie in one file; all or an error.
    pub(super) fn read_rows(
        &self,
        file: &ImageFile,
        picks: &[Pick],
        slots: &mut Slots<'_>,
    ) -> Result<()> {
        match (self.pixels(file)?, &file.source) {
            (Pixels::Direct(table), Source::Mapped(mapped)) => {
                mapped.check()?;
                self.copy_rows(file, mapped, table, picks, slots)
            }
            (Pixels::Direct(table), Source::Pread(source)) => {
                self.pread_rows(file, source, table, picks, slots)
            }
            (Pixels::Direct(table), Source::Remote(source)) => {
                let rows = RemoteRows::new(file, source, table, picks)?;
                rows.copy(&file.source.read(&rows.ranges)?, slots)
            }
            (Pixels::Decoded(metadata, stored), _) => {
                decode::decode_rows(file, metadata, stored, picks, slots)
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

    /// What it takes to have the rows of `picks` at hand: of remote files spans to be fetched; of files on this machine nothing
    /// more than to tell the kernel.
    pub(super) fn look_ahead(&self, mut picks: Vec<Pick>) -> Lookahead {
        picks.sort_unstable_by_key(|pick| (pick.file, pick.row));
        let (mut spans, mut requests) = (Vec::new(), Vec::new());
        for of_file in picks.chunk_by(|a, b| a.file == b.file) {
            let file = self.file(of_file);
            // What is wrong with a file is for the batch to say that needs its rows.
            let Ok(pixels) = self.pixels(file) else { continue };
            let ranges = joined(&pixels.ranges(&file.group_starts, of_file));
            match &file.source {
                Source::Mapped(mapped) => mapped.will_need(&ranges),
                Source::Pread(pread) => pread.will_need(&ranges),
                Source::Remote(remote) => {
                    for range in ranges {
                        let (span, request) = remote.ask(range);
                        spans.push(span);
                        requests.push(request);
                    }
                }
            }
        }
        Lookahead { spans, requests }
    }

    /// Brings near where the pixels of all rows begin that lie in mapped files under known addresses: their lengths are looked
    /// at first, and one after the other each would be waited for. With `cold` the kernel is told of all pixels in files on this
    /// machine instead. A file of which nothing can be known is left to the read that follows.
    fn bring_near(&self, picks: &[Pick], cold: bool) {
        for of_file in picks.chunk_by(|a, b| a.file == b.file) {
            let file = self.file(of_file);
            let Ok(pixels @ Pixels::Direct(_)) = self.pixels(file) else { continue };
            let ranges = pixels.ranges(&file.group_starts, of_file);
            match &file.source {
                Source::Mapped(mapped) if cold => mapped.will_need(&ranges),
                Source::Mapped(mapped) => mapped.prefetch(&ranges),
                Source::Pread(pread) if cold => pread.will_need(&ranges),
                Source::Pread(_) | Source::Remote(_) => {}
            }
        }
    }

    /// Reads the rows of remote files, several files at once.
    fn fetch(
        &self,
        remote: &[RemoteRows<'_>],
        slots: &mut Slots<'_>,
        bad: &mut Vec<Bad>,
    ) -> Result<()> {
        let Some(first) = remote.first() else { return Ok(()) };
        let requests =
            remote.iter().map(|rows| async move { (rows, rows.source.read(&rows.ranges).await) });
        let answers = stream::iter(requests).buffer_unordered(REMOTE_FILES).collect::<Vec<_>>();
        for (rows, parts) in first.source.handle().block_on(answers) {
            if parts.and_then(|parts| rows.copy(&parts, slots)).is_err() {
                self.read_singly(rows.file, rows.picks, slots, bad)?;
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
        slots: &mut Slots<'_>,
    ) -> Result<()> {
        let bytes = mapped.bytes();
        for same_row in picks.chunk_by(|a, b| a.row == b.row) {
            let address = address_of(table, same_row[0].row)?;
            let bytes = &bytes[address.start as usize..][..address.bytes as usize];
            file.put(address.codec, bytes, same_row, slots)?;
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
        slots: &mut Slots<'_>,
    ) -> Result<()> {
        let mut open = source.open_checked()?;
        let mut page = Vec::new();
        for pick in picks {
            let address = address_of(table, pick.row)?;
            if address.codec == PixelCodec::Jpeg {
                page.resize(address.bytes as usize, 0);
                source::read_at(&mut open, address.start, &mut page)?;
                file.put(address.codec, &page, slice::from_ref(pick), slots)?;
                continue;
            }
            let mut length = [0; LENGTH_BYTES as usize];
            let slot = slots.of(pick);
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
        slots: &mut Slots<'_>,
    ) -> Result<()> {
        let value = value_of(codec, bytes, slots.pixel_bytes())?;
        self.verify(same_row[0].row, value)?;
        slots.place(codec, value, same_row)
    }

    /// How its pixels are reached; the first call reads the footer and the offset index, unless the scan did.
    fn pixels(&self, read_path: ReadPath, pixel_bytes: usize) -> Result<&Pixels> {
        match self.pixels.get() {
            Some(pixels) => Ok(pixels),
            None => {
                let footer = footer(&self.source, PageIndexPolicy::Optional)?;
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
                let file_bytes = self.source.size_bytes();
                addresses(&footer, file_bytes, column, pixel_bytes as u64, &decoded)
            }
        };
        let pixels = match direct {
            Some(table) => Pixels::Direct(table),
            None => {
                if read_path != ReadPath::General {
                    say_slow(&self.path);
                }
                Pixels::Decoded(decode::metadata(footer)?, decoded.clone())
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
    fn ranges(&self, group_starts: &[u32], picks: &[Pick]) -> Vec<Range<u64>> {
        match self {
            Self::Direct(table) => {
                let addresses = picks.iter().filter_map(|pick| table.of(pick.row));
                addresses.map(|a| a.start..a.start + u64::from(a.bytes)).collect()
            }
            Self::Decoded(metadata, _) => {
                let group_of =
                    |pick: &Pick| group_starts.partition_point(|&start| start <= pick.row) - 1;
                let groups = picks.chunk_by(|a, b| group_of(a) == group_of(b));
                groups
                    .filter_map(|picks| decode::pixel_bytes(metadata, group_of(&picks[0])))
                    .collect()
            }
        }
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

    fn copy(&self, parts: &[Bytes], slots: &mut Slots<'_>) -> Result<()> {
        for ((pick, bytes), codec) in self.picks.iter().zip(parts).zip(&self.codecs) {
            self.file.put(*codec, bytes, slice::from_ref(pick), slots)?;
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
