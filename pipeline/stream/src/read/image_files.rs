//! Pixels by row. In: rows of the images table. Out: their pixels in the slots of a batch, by the fastest way the file allows:
//! copied from the mapped file, read by range requests, or decoded; JPEGs are decoded into the batch itself. Never decides which
//! rows, or in which order.

use std::ops::Range;
use std::slice;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};

use tuwen_image::copy;

use super::addresses::{Address, Addresses, LENGTH_BYTES};
use super::data_file::{DataFile, LiveFile};
use super::image_file::{ImageFile, Pixels, check_length};
use super::mapped::Mapped;
use super::pread::{Pread, read_at};
use super::ranges::joined;
use super::remote::{Remote, Span};
use super::scan::{ScannedFile, starts};
use super::slots::{Bad, Pick, Slots};
use tuwen_settings::{PixelCodec, ReadPath};

/// Files of a remote table read at once for one batch.
const REMOTE_FILES: usize = 16;

/// What brings rows ahead of their batches.
pub(crate) struct Lookahead {
    /// Where the bytes are kept, until these are dropped.
    pub(crate) spans: Vec<Span>,
    /// To be run.
    pub(crate) requests: Vec<BoxFuture<'static, ()>>,
}

/// The files of the images table.
pub(crate) struct ImageFiles {
    label: String,
    read_path: ReadPath,
    pixel_bytes: usize,
    files: Vec<ImageFile>,
    /// The number of the first row of each file, counted over all files, and at last the number of rows.
    starts: Vec<u32>,
}

impl ImageFiles {
    /// The files of the table that messages call `label`, all of whose wanted rows hold squares of `pixel_bytes` bytes once
    /// decoded.
    pub(crate) fn new(
        label: String,
        read_path: ReadPath,
        pixel_bytes: usize,
        live: Vec<LiveFile>,
        scanned: Vec<ScannedFile>,
    ) -> Result<Self> {
        let starts = starts(&label, scanned.iter().map(ScannedFile::n_rows))?;
        let files = live.into_iter().zip(scanned);
        let files = files
            .map(|(live, scanned)| ImageFile::new(live.path, scanned, read_path, pixel_bytes))
            .collect();
        Ok(Self { label, read_path, pixel_bytes, files, starts })
    }

    /// Where every row group begins, counted over all files, and at last the number of rows.
    pub(crate) fn group_starts(&self) -> Vec<u32> {
        let groups = self.files.iter().zip(&self.starts).flat_map(|(file, start)| {
            let (_, firsts) = file.group_starts.split_last().unwrap_or((&0, &[]));
            firsts.iter().map(move |first| start + first)
        });
        groups.chain(self.starts.last().copied()).collect()
    }

    /// Whether they lie in an object store.
    pub(crate) fn remote(&self) -> bool {
        self.files.iter().any(|file| file.data_file.is_remote())
    }

    /// The file and row within it of the row numbered `row` over all files, to be read into `slot`.
    pub(crate) fn pick(&self, row: u32, slot: u32) -> Pick {
        let file = self.starts.partition_point(|&start| start <= row) - 1;
        Pick { file: file as u32, row: row - self.starts[file], slot }
    }

    /// Reads `picks` into their `slots`; sorts them by where they lie. With `cold` the kernel is told of all rows before the
    /// first is read. Gives back the picks that cannot be read: their file is gone, is shorter or longer than the Delta log
    /// says, or does not hold the row; their slots hold anything.
    ///
    /// # Errors
    /// A store does not answer.
    pub(crate) fn fill(
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
            let read = match (self.pixels(file), &file.data_file) {
                (Ok(Pixels::Direct(table)), DataFile::Remote(remote_file)) => {
                    RemoteRows::new(file, remote_file, table, of_file).map(|rows| remote.push(rows))
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
    fn read_rows(&self, file: &ImageFile, picks: &[Pick], slots: &mut Slots<'_>) -> Result<()> {
        match (self.pixels(file)?, &file.data_file) {
            (Pixels::Direct(table), DataFile::Mapped(mapped)) => {
                mapped.check()?;
                self.copy_rows(file, mapped, table, picks, slots)
            }
            (Pixels::Direct(table), DataFile::Pread(pread)) => {
                self.pread_rows(file, pread, table, picks, slots)
            }
            (Pixels::Direct(table), DataFile::Remote(remote)) => {
                let rows = RemoteRows::new(file, remote, table, picks)?;
                rows.copy(&file.data_file.read(&rows.ranges)?, slots)
            }
            (Pixels::Decoded(parquet), data_file) => {
                parquet.read_rows(data_file, &file.group_starts, &file.checksums, picks, slots)
            }
        }
    }

    /// Reads each row of `picks`, which lie in one file and are sorted by row, alone; those that cannot be read go to `bad`.
    ///
    /// # Errors
    /// The store does not answer.
    fn read_singly(
        &self,
        file: &ImageFile,
        picks: &[Pick],
        slots: &mut Slots<'_>,
        bad: &mut Vec<Bad>,
    ) -> Result<()> {
        // What was copied before the fault is copied again.
        copy::finish();
        file.data_file.answers()?;
        for same_row in picks.chunk_by(|a, b| a.row == b.row) {
            let Err(error) = self.read_rows(file, same_row, slots) else { continue };
            file.data_file.answers()?;
            let why = format!("{:#}", error.context(self.place_of_row(file, same_row[0].row)));
            bad.extend(same_row.iter().map(|pick| Bad { slot: pick.slot, why: why.clone() }));
        }
        Ok(())
    }

    fn file(&self, of_file: &[Pick]) -> &ImageFile {
        &self.files[of_file[0].file as usize]
    }

    /// Where a row lies, in words.
    fn place_of_row(&self, file: &ImageFile, row: u32) -> String {
        let group = file.group_starts.partition_point(|&start| start <= row).saturating_sub(1);
        format!("{}, file {}, row group {group}, row {row}", self.label, file.path)
    }

    fn pixels<'a>(&self, file: &'a ImageFile) -> Result<&'a Pixels> {
        file.pixels(self.read_path, self.pixel_bytes)
    }

    /// What it takes to have the rows of `picks` at hand: of remote files spans to be fetched; of files on this machine nothing
    /// more than to tell the kernel.
    pub(crate) fn look_ahead(&self, mut picks: Vec<Pick>) -> Lookahead {
        picks.sort_unstable_by_key(|pick| (pick.file, pick.row));
        let (mut spans, mut requests) = (Vec::new(), Vec::new());
        for of_file in picks.chunk_by(|a, b| a.file == b.file) {
            let file = self.file(of_file);
            // What is wrong with a file is for the batch to say that needs its rows.
            let Ok(pixels) = self.pixels(file) else { continue };
            let ranges = joined(&pixels.ranges(&file.group_starts, of_file));
            match &file.data_file {
                DataFile::Mapped(mapped) => mapped.will_need(&ranges),
                DataFile::Pread(pread) => pread.will_need(&ranges),
                DataFile::Remote(remote) => {
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
            match &file.data_file {
                DataFile::Mapped(mapped) if cold => mapped.will_need(&ranges),
                DataFile::Mapped(mapped) => mapped.prefetch(&ranges),
                DataFile::Pread(pread) if cold => pread.will_need(&ranges),
                DataFile::Pread(_) | DataFile::Remote(_) => {}
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
            remote.iter().map(|rows| async move { (rows, rows.remote.read(&rows.ranges).await) });
        let answers = stream::iter(requests).buffer_unordered(REMOTE_FILES).collect::<Vec<_>>();
        for (rows, parts) in first.remote.handle().block_on(answers) {
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
        pread: &Pread,
        table: &Addresses,
        picks: &[Pick],
        slots: &mut Slots<'_>,
    ) -> Result<()> {
        let mut open = pread.open_checked()?;
        let mut page = Vec::new();
        for pick in picks {
            let address = address_of(table, pick.row)?;
            if address.codec == PixelCodec::Jpeg {
                page.resize(address.bytes as usize, 0);
                read_at(&mut open, address.start, &mut page)?;
                file.put(address.codec, &page, slice::from_ref(pick), slots)?;
                continue;
            }
            let mut length = [0; LENGTH_BYTES as usize];
            let slot = slots.of(pick);
            read_at(&mut open, address.start, &mut length)?;
            check_length(&length, self.pixel_bytes)?;
            read_at(&mut open, address.start + LENGTH_BYTES, slot)?;
            file.checksums.verify(pick.row, slot)?;
        }
        Ok(())
    }
}

/// The rows of one remote file that a batch needs.
struct RemoteRows<'a> {
    file: &'a ImageFile,
    remote: &'a Remote,
    picks: &'a [Pick],
    codecs: Vec<PixelCodec>,
    ranges: Vec<Range<u64>>,
}

impl<'a> RemoteRows<'a> {
    fn new(
        file: &'a ImageFile,
        remote: &'a Remote,
        table: &Addresses,
        picks: &'a [Pick],
    ) -> Result<Self> {
        let addresses = picks.iter().map(|pick| address_of(table, pick.row));
        let addresses = addresses.collect::<Result<Vec<_>>>()?;
        let range = |address: &Address| address.start..address.start + u64::from(address.bytes);
        let (codecs, ranges) = addresses.iter().map(|a| (a.codec, range(a))).unzip();
        Ok(Self { file, remote, picks, codecs, ranges })
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
