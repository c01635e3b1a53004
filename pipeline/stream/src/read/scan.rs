//! Where each image lies. In: the live files of `images`. Out: per file the codec of every decoded row, and to whoever asks their
//! ids and sizes, read from the light columns only. Never touches pixels.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataPushDecoder,
    ParquetStatisticsPolicy,
};

use super::data_file::{DataFile, FileAccess, LiveFile};
use crate::id::parse_id;
use tuwen_settings::PixelCodec;

/// The columns the stream takes from the files of `images` itself, pixels apart.
const LIGHT_COLUMNS: [&str; 4] = ["image_id", "size_px", "codec", "reject_reason"];

/// The column of their checksums, taken only by a stream that verifies.
const PIXELS_CRC32: &str = "pixels_crc32";

/// The column of pixels.
pub(super) const PIXELS: &str = "pixels";

/// All columns that must stand in the data files.
pub(crate) const FILE_COLUMNS: [&str; 5] =
    ["image_id", "size_px", "codec", "reject_reason", PIXELS];

/// Bytes asked for at a file's end in the first request: the footer of some thousands of rows, so mostly one request a file.
const TAIL_BYTES: u64 = 64 << 10;

/// Rows decoded at once in a scan.
const SCAN_BATCH_ROWS: usize = 8192;

/// Files of a remote table scanned at once: a scan there waits for answers, not for a core.
const REMOTE_SCANS: usize = 16;

/// The image of a decoded row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageId {
    /// 128-bit id.
    pub(crate) id: u128,
    /// Row within the file.
    pub(crate) row: u32,
    /// Side of the stored square.
    pub(crate) size_px: u32,
}

/// Takes the images of the file of a number, ascending by row. Called from several threads, once a file that could be read.
pub(crate) type TakeIds<'a> = &'a (dyn Fn(usize, &[ImageId]) -> Result<()> + Sync);

/// What is found in a file's light columns.
#[derive(Default)]
struct Found {
    ids: Vec<ImageId>,
    decoded: Vec<StoredRow>,
    crcs: Vec<u32>,
}

/// A row that holds pixels, and how they are written down: 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredRow(u32);

impl StoredRow {
    /// Row `row` of its file; none from 2^31 on.
    pub(super) fn new(row: u32, codec: PixelCodec) -> Option<Self> {
        let is_jpeg = u32::from(codec == PixelCodec::Jpeg);
        (row >> 31 == 0).then_some(Self(row << 1 | is_jpeg))
    }

    /// Row within the file.
    pub(super) fn row(self) -> u32 {
        self.0 >> 1
    }

    /// How its pixels are written down.
    pub(super) fn codec(self) -> PixelCodec {
        if self.0 & 1 == 1 { PixelCodec::Jpeg } else { PixelCodec::Raw }
    }
}

/// What a scan of one file found.
pub(crate) struct ScannedFile {
    /// The file, open.
    pub(super) data_file: DataFile,
    /// Its decoded rows, in order.
    pub(super) decoded: Vec<StoredRow>,
    /// CRC-32 of each row's pixels, 0 for rejected rows; empty if they were not asked for.
    pub(super) crcs: Vec<u32>,
    /// Where each row group begins, and at last the number of rows.
    pub(super) group_starts: Vec<u32>,
    /// The footer and the offset index of a remote file, kept so that the first batch asks for none.
    pub(super) footer: Option<Arc<ParquetMetaData>>,
}

impl ScannedFile {
    /// The number of its rows, rejected ones included.
    pub(crate) fn n_rows(&self) -> u32 {
        self.group_starts.last().copied().unwrap_or(0)
    }
}

/// Scans `files` on several threads, their checksums with `verify`. The answers are in the order of `files`; an error among
/// them is a file's own fault.
///
/// # Errors
/// The store does not answer; `take_ids` fails.
pub(crate) fn scan_files(
    label: &str,
    access: &FileAccess,
    files: &[LiveFile],
    verify: bool,
    take_ids: TakeIds<'_>,
) -> Result<Vec<Result<ScannedFile>>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let n_threads = match access {
        FileAccess::Mapped(_) | FileAccess::Pread(_) => cores,
        FileAccess::Store(..) => REMOTE_SCANS,
    };
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Result<ScannedFile>)>> {
        let mut scanned = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(index) else { return Ok(scanned) };
            let of_file = || format!("{label}, file {}", file.path);
            let found = match DataFile::open(access, file, index) {
                Ok(data_file) => match scan_file(&data_file, verify) {
                    Ok((found, group_starts, footer)) => {
                        take_ids(index, &found.ids)?;
                        let footer = data_file.is_remote().then_some(footer);
                        let Found { decoded, crcs, .. } = found;
                        Ok(ScannedFile { data_file, decoded, crcs, group_starts, footer })
                    }
                    Err(error) => {
                        data_file.answers().with_context(of_file)?;
                        Err(error)
                    }
                },
                Err(error) => Err(error),
            };
            scanned.push((index, found.with_context(of_file)));
        }
    };
    let mut scanned = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads.min(files.len())).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::with_capacity(files.len());
        for thread in threads {
            match thread.join() {
                Ok(part) => all.extend(part?),
                Err(_) => bail!("{label}: a thread that scanned its files panicked"),
            }
        }
        Ok(all)
    })?;
    scanned.sort_by_key(|(index, _)| *index);
    Ok(scanned.into_iter().map(|(_, file)| file).collect())
}

/// What a file holds, where each of its row groups begins, and its footer, of a remote file with the offset index.
fn scan_file(file: &DataFile, verify: bool) -> Result<(Found, Vec<u32>, Arc<ParquetMetaData>)> {
    let offset_index =
        if file.is_remote() { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
    let footer = Arc::new(footer(file, offset_index)?);
    let group_starts = group_starts(&footer)?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(&footer), options)?;
    let checksums = verify.then_some(PIXELS_CRC32);
    let columns = LIGHT_COLUMNS.into_iter().chain(checksums);
    let mask = ProjectionMask::columns(metadata.parquet_schema(), columns);
    let mut decoder = ParquetPushDecoderBuilder::new_with_metadata(metadata)
        .with_projection(mask)
        .with_batch_size(SCAN_BATCH_ROWS)
        .build()?;
    let n_rows = group_starts.last().copied().unwrap_or(0);
    let mut found = Found::default();
    found.decoded.reserve_exact(n_rows as usize);
    let mut first_row = 0;
    while let Some(batch) = next_batch(&mut decoder, file)? {
        found.collect(&batch, first_row, verify)?;
        first_row += batch.num_rows() as u32;
    }
    ensure!(first_row == n_rows, "expected {n_rows} rows (footer), found {first_row}");
    Ok((found, group_starts, footer))
}

/// The next rows that `decoder` makes of `file`; none after the last.
pub(super) fn next_batch(
    decoder: &mut ParquetPushDecoder,
    file: &DataFile,
) -> Result<Option<RecordBatch>> {
    loop {
        match decoder.try_decode()? {
            DecodeResult::NeedsData(ranges) => {
                let bytes = file.read(&ranges)?;
                decoder.push_ranges(ranges, bytes)?;
            }
            DecodeResult::Data(batch) => return Ok(Some(batch)),
            DecodeResult::Finished => return Ok(None),
        }
    }
}

impl Found {
    fn collect(&mut self, batch: &RecordBatch, first_row: u32, verify: bool) -> Result<()> {
        let [ids, sizes, codecs, reasons] = LIGHT_COLUMNS.map(|name| {
            batch
                .column_by_name(name)
                .with_context(|| format!("it has no column `{name}` (schemas/images.sql)"))
        });
        let ids = cast(ids?, &DataType::Utf8View)?;
        let sizes = cast(sizes?, &DataType::Int32)?;
        let codecs = cast(codecs?, &DataType::Utf8View)?;
        let (ids, sizes, reasons) =
            (ids.as_string_view(), sizes.as_primitive::<Int32Type>(), reasons?);
        let codecs = codecs.as_string_view();
        let crcs = if verify { Some(checksums(batch)?) } else { None };
        if verify {
            self.crcs.resize(first_row as usize + batch.num_rows(), 0);
        }
        for (index, row) in (0..batch.num_rows()).zip(first_row..) {
            if reasons.is_valid(index) {
                continue;
            }
            let id = parse_id(ids.value(index))
                .with_context(|| format!("row {row}, column `image_id`"))?;
            let size_px = u32::try_from(sizes.value(index)).ok().filter(|size| *size > 0);
            let size_px =
                size_px.with_context(|| format!("row {row}: size_px is {}", sizes.value(index)))?;
            if let Some(crcs) = &crcs {
                self.crcs[row as usize] = Some(crcs)
                    .filter(|crcs| crcs.is_valid(index))
                    .and_then(|crcs| u32::try_from(crcs.value(index)).ok())
                    .with_context(|| format!("row {row}: expected a CRC-32 in `{PIXELS_CRC32}`"))?;
            }
            let codec = if codecs.is_valid(index) { codecs.value(index) } else { "null" };
            let codec = PixelCodec::of(codec)
                .with_context(|| format!("row {row}: expected codec raw or jpeg, found {codec}"))?;
            let stored = StoredRow::new(row, codec).context("it has more than 2^31 rows")?;
            self.decoded.push(stored);
            self.ids.push(ImageId { id, row, size_px });
        }
        Ok(())
    }
}

fn checksums(batch: &RecordBatch) -> Result<PrimitiveArray<Int64Type>> {
    let crcs = batch.column_by_name(PIXELS_CRC32).with_context(|| {
        format!(
            "it has no column `{PIXELS_CRC32}`, which `verify` needs\n\
             hint: stream without `verify`, or make the corpus anew"
        )
    })?;
    Ok(cast(crcs, &DataType::Int64)?.as_primitive().clone())
}

/// Where the rows of each file begin when those of all files are counted, and at last the number of rows.
pub(crate) fn starts(label: &str, n_rows: impl IntoIterator<Item = u32>) -> Result<Vec<u32>> {
    let mut starts = vec![0_u32];
    let mut start = 0_u32;
    for n_rows in n_rows {
        start = start
            .checked_add(n_rows)
            .with_context(|| format!("{label}: it has more than 2^32 rows"))?;
        starts.push(start);
    }
    Ok(starts)
}

/// Where each row group begins, and at last the number of rows.
fn group_starts(metadata: &ParquetMetaData) -> Result<Vec<u32>> {
    let mut starts = Vec::with_capacity(metadata.num_row_groups() + 1);
    let mut start = 0_u32;
    starts.push(start);
    for group in metadata.row_groups() {
        let rows = u32::try_from(group.num_rows()).ok();
        start =
            rows.and_then(|rows| start.checked_add(rows)).context("it has more than 2^32 rows")?;
        starts.push(start);
    }
    Ok(starts)
}

/// The file's footer, with the offset index if `offset_index` says so; statistics are left out.
pub(super) fn footer(file: &DataFile, offset_index: PageIndexPolicy) -> Result<ParquetMetaData> {
    let size_bytes = file.size_bytes();
    let options = ParquetMetaDataOptions::new()
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
    let mut decoder = ParquetMetaDataPushDecoder::try_new(size_bytes)?
        .with_column_index_policy(PageIndexPolicy::Skip)
        .with_offset_index_policy(offset_index)
        .with_metadata_options(Some(Arc::new(options)));
    let tail = size_bytes.saturating_sub(TAIL_BYTES)..size_bytes;
    let mut wanted = Vec::from([tail]);
    loop {
        let bytes = file.read(&wanted)?;
        decoder.push_ranges(wanted, bytes)?;
        match decoder.try_decode().context("its footer cannot be read")? {
            DecodeResult::NeedsData(ranges) => wanted = ranges,
            DecodeResult::Data(metadata) => return Ok(metadata),
            DecodeResult::Finished => bail!("its footer ended before it was whole"),
        }
    }
}
