//! Writing shards, several at once. In: shards whose rows are known. Out: their files, each with its name when it is whole. A shard is one
//! thread's from its first picture to its last, so its bytes do not depend on how many there are; a thread holds a row group of pictures.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Error, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use indicatif::HumanBytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::PictureFiles;
use tuwen_corpus::report::{Figures, Progress};

use super::columns::{Layout, text};
use super::folder::Folder;
use super::options::{Format, Options};
use super::parquet::ParquetShard;
use super::picture::{Known, Picture};
use super::shard::{Shard, ShardWriter};
use super::webdataset::TarShard;

/// Rows that are written at once.
const CHUNK_ROWS: usize = 64;

/// Bytes of pictures after which they are written before.
const CHUNK_BYTES: usize = 32 << 20;

/// What the threads have in common.
pub(super) struct Job {
    pub(super) options: Options,
    pub(super) layout: Arc<Layout>,
    pub(super) folder: Arc<Folder>,
    pub(super) pictures: Arc<PictureFiles>,
    /// Those that are not there.
    pub(super) shards: Vec<Shard>,
    pub(super) progress: Progress,
    pub(super) stop: CancellationToken,
    pub(super) done: Done,
}

/// What was done.
#[derive(Default)]
pub(super) struct Done {
    next: AtomicUsize,
    has_failed: AtomicBool,
    pub(super) rows: AtomicU64,
    /// Of pictures.
    pub(super) bytes: AtomicU64,
}

/// Writes all shards of `job`; fewer after a signal.
///
/// # Errors
/// A picture is damaged, or the disk is full: the first error of any thread.
pub(super) async fn work(job: &Arc<Job>) -> Result<()> {
    let clock = Instant::now();
    let mut threads = JoinSet::new();
    for _ in 0..job.options.threads.min(job.shards.len()) {
        let (job, handle) = (Arc::clone(job), Handle::current());
        threads.spawn_blocking(move || job.run(&handle, clock));
    }
    let mut worked = Ok(());
    while let Some(ended) = threads.join_next().await {
        worked = worked.and(ended.context("a thread that writes shards panicked")?);
    }
    worked
}

impl Job {
    fn run(&self, handle: &Handle, clock: Instant) -> Result<()> {
        while let Some(shard) = self.shards.get(self.done.next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = self.shard(handle, shard, clock) {
                self.done.has_failed.store(true, Ordering::Relaxed);
                return Err(with_hint(error));
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.done.has_failed.load(Ordering::Relaxed)
    }

    fn shard(&self, handle: &Handle, shard: &Shard, clock: Instant) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        let rows = File::open(&shard.rows).with_context(|| shard.rows.display().to_string())?;
        let rows = ParquetRecordBatchReaderBuilder::try_new(rows)?.with_batch_size(CHUNK_ROWS);
        let rows: Vec<RecordBatch> = rows.build()?.collect::<Result<_, _>>()?;
        let mut places: Vec<i64> = Vec::with_capacity(shard.n_rows as usize);
        for batch in &rows {
            places.extend(numbers(batch, "place")?.values());
        }
        places.dedup();
        let mut reader = self.pictures.read(&places);
        let Options { format, shard_rows, .. } = self.options;
        let mut writer: Box<dyn ShardWriter> = match format {
            Format::Webdataset => Box::new(TarShard::new(&self.folder, shard, shard_rows)?),
            _ => Box::new(ParquetShard::new(&self.folder, shard, format, &self.layout)?),
        };
        // Pairs of one picture stand side by side.
        let mut last: Option<(i64, Picture)> = None;
        for batch in &rows {
            let places = numbers(batch, "place")?;
            let (mut start, mut bytes, mut pictures) = (0, 0, Vec::with_capacity(CHUNK_ROWS));
            for row in 0..batch.num_rows() {
                let place = places.value(row);
                let picture = match last.take().filter(|(at, _)| *at == place) {
                    Some((_, picture)) => picture,
                    None => {
                        let stored = handle.block_on(reader.next())?;
                        let stored = stored.context("a picture is not where it was found")?;
                        let picture =
                            Picture::of(self.options.pictures, stored, &known(batch, row)?);
                        picture.with_context(|| reader.label())?
                    }
                };
                bytes += picture.file.len();
                last = Some((place, picture.clone()));
                pictures.push(picture);
                if bytes >= CHUNK_BYTES || row + 1 == batch.num_rows() {
                    if self.is_over() {
                        return Ok(());
                    }
                    writer.write(&batch.slice(start, pictures.len()), &pictures)?;
                    self.count(pictures.len() as u64, bytes as u64, clock);
                    (start, bytes) = (row + 1, 0);
                    pictures.clear();
                }
            }
        }
        for (whole, name) in writer.finish()? {
            self.folder.keep(&whole, &name)?;
        }
        Ok(())
    }

    fn count(&self, n_rows: u64, bytes: u64, clock: Instant) {
        let rows = self.done.rows.fetch_add(n_rows, Ordering::Relaxed) + n_rows;
        let bytes = self.done.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.add(n_rows);
        self.progress.say(|| {
            let seconds = clock.elapsed().as_secs_f64();
            let bytes_per_sec = bytes as f64 / seconds;
            let images_per_sec = rows as f64 / seconds;
            let text = format!("{}/s", HumanBytes(bytes_per_sec as u64));
            Figures {
                text,
                ok_percent: None,
                images_per_sec: Some(images_per_sec),
                bytes_per_sec: Some(bytes_per_sec),
            }
        });
    }
}

fn numbers<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a arrow::array::PrimitiveArray<Int64Type>> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt());
    column.with_context(|| format!("expected numbers in the column `{name}` of an export's rows"))
}

/// What is known of the picture of a row.
fn known(batch: &RecordBatch, row: usize) -> Result<Known<'_>> {
    let of = |name: &str| -> Result<Option<&str>> {
        let texts = text(batch, name)?;
        Ok(texts.is_valid(row).then(|| texts.value(row)))
    };
    let number = |name: &str| -> Result<Option<i32>> {
        let column = batch.column_by_name(name);
        let numbers = column.and_then(|column| column.as_primitive_opt::<Int32Type>());
        let numbers =
            numbers.with_context(|| format!("expected numbers in the column `{name}`"))?;
        Ok(numbers.is_valid(row).then(|| numbers.value(row)))
    };
    let crc = numbers(batch, "pixels_crc32")?;
    Ok(Known {
        image_id: of("image_id")?.context("an example of a split has no image_id")?,
        format: of("format")?,
        width: number("width")?,
        height: number("height")?,
        size_px: number("size_px")?.unwrap_or(0),
        codec: of("codec")?,
        pixels_crc32: crc.is_valid(row).then(|| crc.value(row)),
    })
}

/// A full disk is what mostly ends an export: what to do then.
fn with_hint(error: Error) -> Error {
    let is_full = error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        kind == Some(io::ErrorKind::StorageFull) || kind == Some(io::ErrorKind::QuotaExceeded)
    });
    if !is_full {
        return error;
    }
    let said = format!("{error:#}");
    anyhow::anyhow!(
        "{said}\nhint: shards that are whole stay; with room, the same command does the rest"
    )
}
