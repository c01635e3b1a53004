//! Measures the stream, for `benches/stream_vs_peers.py`. `make DIR` writes a corpus and its pixels as one raw file for the
//! peers, or one whose pixels are JPEGs of a folder's pictures (`--pictures`); `measure DIR` prints images/s; `first-batch DIR`
//! prints how long a new process takes, and how much it holds; `growth DIR` prints what ten times the rows cost. Each prints
//! one JSON object.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int32Builder, Int64Array, ListBuilder, RecordBatch,
    StringArray, new_null_array,
};
use arrow::datatypes::{DataType, Field};
use clap::{Args, Parser, ValueEnum};
use deltalake::DeltaTable;
use deltalake::protocol::SaveMode;
use serde_json::json;
use tuwen_image::{decode_image, encode_stored};
use tuwen_settings::{DecodeSettings, PixelCodec};
use tuwen_stream::{ReadPath, Shuffle, Stream, StreamOptions};

/// Bytes of pixels written in one commit.
const COMMIT_BYTES: usize = 300 << 20;

/// Images written in one commit at most.
const COMMIT_IMAGES: usize = 1 << 16;

/// Examples written in one commit.
const COMMIT_EXAMPLES: usize = 1 << 18;

#[derive(Parser)]
enum Command {
    /// Writes a corpus of random pixels, and `pixels.raw` beside its tables.
    Make {
        folder: PathBuf,
        #[arg(long, default_value_t = 8192)]
        images: usize,
        /// Examples; image n belongs to example n modulo the number of images.
        #[arg(long, default_value_t = 8192)]
        examples: usize,
        #[arg(long, default_value_t = 224)]
        size_px: usize,
        /// A folder of `*.jpg`: the pixels are these pictures, decoded and stored as JPEG; no `pixels.raw`.
        #[arg(long)]
        pictures: Option<PathBuf>,
    },
    /// Streams whole epochs: one to warm up, then `epochs` whose median counts.
    Measure {
        folder: PathBuf,
        #[command(flatten)]
        how: How,
        #[arg(long, default_value_t = 5)]
        epochs: u64,
    },
    /// Opens the corpus and takes one batch.
    FirstBatch {
        folder: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Opens and streams a corpus and one of ten times its rows, in turns; makes them if they are not there.
    Growth {
        folder: PathBuf,
        #[command(flatten)]
        how: How,
        /// Images, and examples, of the smaller corpus.
        #[arg(long, default_value_t = 8192)]
        rows: usize,
        #[arg(long, default_value_t = 64)]
        size_px: usize,
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
}

/// Most that ten times the rows may cost.
const LINEAR: f64 = 10.5;

#[derive(Args)]
struct How {
    #[arg(long, default_value_t = 2)]
    readers: usize,
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    #[arg(long, value_enum, default_value_t = By::Fastest)]
    path: By,
    /// Row groups of a window shuffle; 0 for the global shuffle.
    #[arg(long, default_value_t = 0)]
    window: usize,
    /// Check every image against its CRC-32.
    #[arg(long)]
    verify: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    Fastest,
    Pread,
    Ranges,
    General,
}

impl How {
    fn open(&self, folder: &Path) -> Result<Stream> {
        let shuffle = match self.window {
            0 => Shuffle::Global,
            row_groups => Shuffle::Window { row_groups },
        };
        let path = match self.path {
            By::Fastest => ReadPath::Fastest,
            By::Pread => ReadPath::Pread,
            By::Ranges => ReadPath::Ranges,
            By::General => ReadPath::General,
        };
        let (readers, batch_size, verify) = (self.readers, self.batch_size, self.verify);
        let options =
            StreamOptions { readers, batch_size, shuffle, verify, ..StreamOptions::default() };
        Stream::open_by(folder.to_str().context("the folder's name is not UTF-8")?, options, path)
    }
}

fn main() -> Result<()> {
    let begun = Instant::now();
    let report = match Command::parse() {
        Command::Make { folder, images, examples, size_px, pictures } => {
            make(&folder, images, examples, size_px, pictures.as_deref())?
        }
        Command::Measure { folder, how, epochs } => measure(&how.open(&folder)?, epochs)?,
        Command::FirstBatch { folder, how } => {
            let before = live_bytes();
            let stream = how.open(&folder)?;
            let opened = begun.elapsed();
            let held = live_bytes().zip(before).map(|(now, before)| now.saturating_sub(before));
            let batch = stream.epoch(0, 0)?.next().context("the corpus is empty")??;
            let seconds = begun.elapsed().as_secs_f64();
            json!({"first_batch_s": seconds, "open_s": opened.as_secs_f64(), "examples": stream.len(),
                   "batch": batch.len(), "rss_mb": rss_mb(),
                   "bytes_per_example": held.map(|held| held as f64 / stream.len().max(1) as f64)})
        }
        Command::Growth { folder, how, rows, size_px, rounds } => {
            growth(&folder, &how, rows, size_px, rounds)?
        }
    };
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

fn measure(stream: &Stream, epochs: u64) -> Result<serde_json::Value> {
    let warm_up = epoch(stream, 0)?;
    let mut speeds =
        (1..=epochs).map(|number| epoch(stream, number)).collect::<Result<Vec<f64>>>()?;
    speeds.sort_by(f64::total_cmp);
    let median = speeds.get(speeds.len() / 2).map(|speed| speed.round());
    let best = speeds.last().map(|speed| speed.round());
    Ok(
        json!({"images_per_s": median, "best": best, "first_epoch": warm_up.round(), "rss_mb": rss_mb()}),
    )
}

/// Images a second of one whole epoch.
fn epoch(stream: &Stream, number: u64) -> Result<f64> {
    let begun = Instant::now();
    let mut batches = stream.epoch(number, 0)?;
    let mut n = 0;
    while let Some(batch) = batches.next() {
        let batch = batch?;
        n += batch.len();
        batches.recycle(batch);
    }
    if n != stream.len() {
        bail!("expected {} examples, found {n}", stream.len());
    }
    Ok(n as f64 / begun.elapsed().as_secs_f64())
}

/// Median seconds of opening and one epoch, for `rows` and for ten times as many.
fn growth(
    folder: &Path,
    how: &How,
    rows: usize,
    size_px: usize,
    rounds: usize,
) -> Result<serde_json::Value> {
    let corpora = [("small", rows), ("large", 10 * rows)];
    for (name, rows) in corpora {
        if !folder.join(name).exists() {
            make(&folder.join(name), rows, rows, size_px, None)?;
        }
    }
    let mut seconds = [Vec::new(), Vec::new()];
    // The first round warms up.
    for round in 0..=rounds.max(1) {
        for ((name, _), seconds) in corpora.iter().zip(&mut seconds) {
            let begun = Instant::now();
            let stream = how.open(&folder.join(name))?;
            epoch(&stream, round as u64)?;
            if round > 0 {
                seconds.push(begun.elapsed().as_secs_f64());
            }
        }
    }
    let [small, large] = seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    let ratio = large / small;
    Ok(
        json!({"rows": rows, "seconds": small, "seconds_of_ten_times": large, "ratio": ratio, "linear": ratio <= LINEAR}),
    )
}

/// Memory of this process that is not file cache, in MB.
fn rss_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kb| kb / 1024)
}

/// What this process has allocated and not freed; what the allocator keeps for later is not in it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call into libc")]
fn live_bytes() -> Option<usize> {
    // SAFETY: it takes nothing and only counts.
    let counted = unsafe { libc::mallinfo() };
    // Modulo 2^32, as old as glibc is.
    Some([counted.uordblks, counted.hblkhd].map(|bytes| bytes as u32 as usize).into_iter().sum())
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn live_bytes() -> Option<usize> {
    None
}

/// SplitMix64 as a generator.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// An id of 128 bits for number `n` of a table.
fn id(table: u64, n: usize) -> String {
    let mut state = (n as u64) << 1 | table;
    format!("{:016x}{:016x}", random(&mut state), random(&mut state))
}

/// Makes a corpus; what is there is whole.
fn make(
    folder: &Path,
    n_images: usize,
    n_examples: usize,
    size_px: usize,
    pictures: Option<&Path>,
) -> Result<serde_json::Value> {
    let whole = folder;
    let folder = &whole.with_extension("part");
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut pictures = match pictures {
        Some(pictures) => Pictures::Jpeg(jpegs(pictures, size_px, n_images)?),
        None => {
            let raw = std::fs::File::create(folder.join("pixels.raw"))?;
            Pictures::Raw(std::io::BufWriter::new(raw))
        }
    };
    let step = (COMMIT_BYTES / (size_px * size_px * 3)).clamp(1, COMMIT_IMAGES);
    for first in (0..n_images).step_by(step) {
        let images = first..(first + step).min(n_images);
        let batch = image_rows(images, size_px, &mut pictures)?;
        runtime.block_on(append(folder, "images", batch))?;
    }
    if let Pictures::Raw(raw) = &mut pictures {
        raw.flush()?;
    }
    for first in (0..n_examples).step_by(COMMIT_EXAMPLES) {
        let batch = example_rows(first..(first + COMMIT_EXAMPLES).min(n_examples), n_images)?;
        runtime.block_on(append(folder, "examples", batch))?;
    }
    std::fs::rename(folder, whole)?;
    Ok(json!({"images": n_images, "examples": n_examples, "size_px": size_px}))
}

async fn append(folder: &Path, name: &str, batch: RecordBatch) -> Result<()> {
    let folder = std::path::absolute(folder.join(name))?;
    std::fs::create_dir_all(&folder)?;
    let url = url::Url::from_directory_path(&folder).ok().context("the folder has no URL")?;
    let table = DeltaTable::try_from_url(url).await?;
    let properties = tuwen_corpus::layout::of(name);
    let write =
        table.write([batch]).with_save_mode(SaveMode::Append).with_writer_properties(properties);
    write.await?;
    Ok(())
}

/// What stands in `pixels`.
enum Pictures {
    /// Random bytes, which the peers get in this file too.
    Raw(std::io::BufWriter<std::fs::File>),
    /// These, in turn.
    Jpeg(Vec<Vec<u8>>),
}

impl Pictures {
    fn codec(&self) -> PixelCodec {
        match self {
            Self::Raw(_) => PixelCodec::Raw,
            Self::Jpeg(_) => PixelCodec::Jpeg,
        }
    }

    fn stored(&mut self, image: usize, size_px: usize) -> Result<Vec<u8>> {
        let raw = match self {
            Self::Jpeg(jpegs) => return Ok(jpegs[image % jpegs.len()].clone()),
            Self::Raw(raw) => raw,
        };
        let mut state = image as u64;
        let words = (size_px * size_px * 3).div_ceil(8);
        let mut bytes: Vec<u8> =
            (0..words).flat_map(|_| random(&mut state).to_le_bytes()).collect();
        bytes.truncate(size_px * size_px * 3);
        raw.write_all(&bytes)?;
        Ok(bytes)
    }
}

/// The first `n` pictures of `folder` by name, as the pipeline would store them.
fn jpegs(folder: &Path, size_px: usize, n: usize) -> Result<Vec<Vec<u8>>> {
    let codec = PixelCodec::Jpeg;
    let settings = DecodeSettings { size: size_px as u32, codec, ..DecodeSettings::default() };
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jpg"));
    paths.sort();
    paths.truncate(n);
    ensure!(!paths.is_empty(), "{}: expected *.jpg, found none", folder.display());
    let jpeg = |path: &PathBuf| {
        let image = decode_image(&std::fs::read(path)?, &settings)
            .map_err(|rejected| anyhow!("{}: {}", path.display(), rejected.detail))?;
        Ok(encode_stored(&image.pixels, &settings)?.into_owned())
    };
    paths.iter().map(jpeg).collect()
}

fn image_rows(
    images: std::ops::Range<usize>,
    size_px: usize,
    pictures: &mut Pictures,
) -> Result<RecordBatch> {
    let codec = pictures.codec().name();
    let pixels = images.clone().map(|image| pictures.stored(image, size_px));
    let pixels = pixels.collect::<Result<Vec<_>>>()?;
    let schema = tuwen_schemas::schema("images");
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "image_id" => Arc::new(images.clone().map(|n| Some(id(0, n))).collect::<StringArray>()),
            "size_px" => Arc::new(Int32Array::from(vec![size_px as i32; images.len()])),
            "codec" => Arc::new(StringArray::from(vec![codec; images.len()])),
            "pixels" => Arc::new(BinaryArray::from_iter_values(&pixels)),
            "pixels_crc32" => Arc::new(Int64Array::from_iter_values(
                pixels.iter().map(|p| i64::from(crc32fast::hash(p))),
            )),
            _ => new_null_array(field.data_type(), images.len()),
        }
    });
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect())?)
}

/// Captions of 2 to 40 tokens.
fn example_rows(examples: std::ops::Range<usize>, n_images: usize) -> Result<RecordBatch> {
    let element = Field::new("element", DataType::Int32, true);
    let mut tokens = ListBuilder::new(Int32Builder::new()).with_field(element);
    let mut lengths = Vec::with_capacity(examples.len());
    for example in examples.clone() {
        let mut state = example as u64;
        let n_tokens = 2 + (random(&mut state) % 39) as i32;
        (0..n_tokens)
            .for_each(|_| tokens.values().append_value((random(&mut state) % 21_128) as i32));
        tokens.append(true);
        lengths.push(n_tokens);
    }
    let tokens: ArrayRef = Arc::new(tokens.finish());
    let schema = tuwen_schemas::schema("examples");
    let texts = |text: &dyn Fn(usize) -> String| -> ArrayRef {
        Arc::new(examples.clone().map(|n| Some(text(n))).collect::<StringArray>())
    };
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "example_id" => texts(&|n| id(1, n)),
            "image_id" => texts(&|n| id(0, n % n_images)),
            "split" => texts(&|_| "train".to_owned()),
            "text" => texts(&|n| format!("一张编号为{n}的照片，画面里有山、水和一座桥")),
            "input_ids" => Arc::clone(&tokens),
            "n_tokens" => Arc::new(Int32Array::from(lengths.clone())),
            _ => new_null_array(field.data_type(), examples.len()),
        }
    });
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect())?)
}
