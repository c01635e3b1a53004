//! How fast the stream is on a corpus. In: the corpus, a split. Out: images/s by order, path and readers, beside what this
//! machine's memory can copy. Never keeps a batch: it is given back at once, as a device that never waits would.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::measure::{doublings, duration, on_threads};
use tuwen_corpus::report::Progress;
use tuwen_image::copy;
use tuwen_stream::{ReadPath, Shuffle, Stream, StreamOptions, mix};

/// Memory that copies are made from: more than caches hold.
const COPY_SOURCE_BYTES: usize = 256 << 20;

/// Batches a thread copies into in turn, as the stream's buffers go round.
const COPY_BATCHES: usize = 4;

/// Share of the time that is spent before the clock starts, for readers to start and buffers to be allocated.
const WARM_UP: f64 = 0.25;

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub struct StreamMeasure {
    /// Folder or URL of the corpus.
    pub corpus: String,
    /// What is streamed; its readers are the most.
    pub options: StreamOptions,
    /// Row groups of the measured window.
    pub window_row_groups: usize,
    /// How pixels are read.
    pub read_path: ReadPath,
    /// Duration of each measurement.
    pub seconds: f64,
}

/// The figures of a corpus.
#[derive(Clone, Debug, Serialize)]
pub struct StreamFigures {
    /// Examples of the split.
    pub examples: usize,
    /// Side of the pictures in pixels.
    pub size_px: usize,
    /// Seconds from nothing to the first batch, the selection of the examples included.
    pub first_batch_s: f64,
    /// By order, path and readers.
    pub figures: Vec<StreamFigure>,
}

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub struct StreamFigure {
    /// `global` or `window`: the order, by the path that was asked for; `general`: the global order through the parquet crate's decoder.
    pub name: &'static str,
    /// Threads that read.
    pub readers: usize,
    /// Images a second.
    pub images_per_s: f64,
    /// The same as a share of the pictures that as many threads copy from memory to memory, in percent.
    pub percent_of_copy: f64,
}

/// Measures the stream. Takes about `seconds * 5` for each number of readers: 1, 2, 4, … and the most.
///
/// # Errors
/// As the stream; a split without examples; options out of range.
pub fn stream(measure: &StreamMeasure) -> Result<StreamFigures> {
    let seconds = duration(measure.seconds)?;
    let open = |readers, shuffle, read_path| {
        let options = StreamOptions { readers, shuffle, ..measure.options.clone() };
        Stream::open_by(&measure.corpus, options, read_path)
    };
    let begun = Instant::now();
    let whole = open(measure.options.readers, Shuffle::Global, measure.read_path)?;
    let first = whole.epoch(0, 0)?.next();
    let split = &measure.options.split;
    first.with_context(|| format!("corpus {}: split {split} is empty", measure.corpus))??;
    let first_batch_s = begun.elapsed().as_secs_f64();

    let batch_size = measure.options.batch_size.min(whole.len());
    let window = Shuffle::Window { row_groups: measure.window_row_groups };
    let counts = doublings(measure.options.readers);
    let kinds = [
        ("global", Shuffle::Global, measure.read_path),
        ("window", window, measure.read_path),
        ("general", Shuffle::Global, ReadPath::General),
    ];
    let progress = Progress::start("stream", (counts.len() * (kinds.len() + 1)) as u64);
    let mut copied = Vec::with_capacity(counts.len());
    let source = vec![1; COPY_SOURCE_BYTES];
    for &threads in &counts {
        copied.push(copies_per_s(&source, whole.size_px(), batch_size, threads, seconds)?);
        progress.add(1);
    }
    drop(source);
    let mut figures = Vec::with_capacity(counts.len() * kinds.len());
    for (name, shuffle, read_path) in kinds {
        for (&readers, copied) in counts.iter().zip(&copied) {
            let images_per_s = images_per_s(&open(readers, shuffle, read_path)?, seconds)?;
            let percent_of_copy = 100.0 * images_per_s / copied;
            figures.push(StreamFigure { name, readers, images_per_s, percent_of_copy });
            progress.add(1);
        }
    }
    progress.finish();
    Ok(StreamFigures { examples: whole.len(), size_px: whole.size_px(), first_batch_s, figures })
}

/// Epoch after epoch until `seconds` have passed after the warm-up.
fn images_per_s(stream: &Stream, seconds: Duration) -> Result<f64> {
    let (started, warm_up) = (Instant::now(), seconds.mul_f64(WARM_UP));
    let (mut images, mut clock, mut epoch) = (0, None::<Instant>, 0);
    loop {
        let mut batches = stream.epoch(epoch, 0)?;
        while let Some(batch) = batches.next() {
            let batch = batch?;
            let n = batch.len();
            batches.recycle(batch);
            match clock {
                Some(begun) => {
                    images += n;
                    if begun.elapsed() >= seconds {
                        return Ok(images as f64 / begun.elapsed().as_secs_f64());
                    }
                }
                None if started.elapsed() >= warm_up => clock = Some(Instant::now()),
                None => {}
            }
        }
        epoch += 1;
    }
}

/// Pictures a second that `threads` threads copy, as the stream does, from random places of `source` into batches that go
/// round: the memory's limit.
#[expect(unsafe_code, reason = "a streaming copy is unsafe until it is finished")]
fn copies_per_s(
    source: &[u8],
    size_px: usize,
    batch_size: usize,
    threads: usize,
    seconds: Duration,
) -> Result<f64> {
    let picture_bytes = size_px * size_px * 3;
    let batches_per_s = on_threads(threads, seconds, || {
        let mut batches = vec![vec![1_u8; batch_size * picture_bytes]; COPY_BATCHES];
        let mut turn = 0_u64;
        move || {
            turn += 1;
            let batch = &mut batches[turn as usize % COPY_BATCHES];
            for (slot, place) in batch.chunks_exact_mut(picture_bytes).zip(0_u64..) {
                let pictures = (source.len() / picture_bytes).max(1) as u64;
                let picture = (mix(turn << 20 | place) % pictures) as usize;
                let picture = &source[picture * picture_bytes..][..picture_bytes];
                // SAFETY: no slot is touched again before `finish`, below.
                unsafe { copy::stream(picture, slot) };
            }
            copy::finish();
            std::hint::black_box(batch);
            Ok(())
        }
    })?;
    Ok(batches_per_s * batch_size as f64)
}
