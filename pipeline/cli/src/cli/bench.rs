//! `tuwen bench`: what a disk, or the stream on a corpus, can do on this machine.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::bench::{Storage, StorageOptions, StreamFigures, StreamMeasure, storage, stream};
use crate::cli::flags::CorpusFlags;
use tuwen_stream::StreamOptions;

/// Measure a disk, or the stream on a corpus
#[derive(Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Storage(StorageArgs),
    Stream(StreamArgs),
}

/// How fast a disk reads, which decode.codec and train.order suit it, and what images/s to expect
///
/// Writes a nameless file into the folder, reads it past the page cache (O_DIRECT, or posix_fadvise where that is refused), and
/// leaves nothing behind. Caches of the disk, a controller or a hypervisor are part of the figures. Needs no root.
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen bench storage /data
  tuwen bench storage /mnt/nfs/corpus --size-mb 8192 --threads 32
  tuwen bench storage . --seconds 1 --json")]
struct StorageArgs {
    /// A folder on the disk
    path: PathBuf,
    /// Size of the file to read, in MB; larger than the disk's own cache tells more
    #[arg(long, value_name = "MB", default_value_t = 1024)]
    size_mb: u64,
    /// Most threads that read at once; 1, 2, 4, … are measured too
    #[arg(long, value_name = "N", default_value_t = 16)]
    threads: usize,
    /// Seconds of each measurement
    #[arg(long, value_name = "SECS", default_value_t = 2.0)]
    seconds: f64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How many images/s the stream gives on a corpus, by order and readers
///
/// Three ways: the global order, the window order, and the global order through the parquet crate's decoder (`general`), which
/// is what a table in another layout would get. `% of copy` compares with as many threads that copy pictures from memory
/// to memory; pictures stored as JPEG are decoded, which takes far longer than a copy. What the settings say of the stream
/// (`--set train.predicate=…`, `train.verify`, `train.read_path`, `train.prefetch`, `train.window_row_groups`, crops) applies. The page
/// cache is as it is: the first run on a corpus that was not read lately measures its disk.
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen bench stream --corpus corpus
  tuwen bench stream --corpus corpus --readers 8 --batch-size 256 --seconds 10
  tuwen bench stream --split test --json")]
struct StreamArgs {
    /// The split
    #[arg(long, default_value = "train")]
    split: String,
    /// Most readers; 1, 2, 4, … are measured too [default: the number of cores]
    #[arg(long, value_name = "N")]
    readers: Option<usize>,
    /// Examples a batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch_size: usize,
    /// Seconds of each measurement
    #[arg(long, value_name = "SECS", default_value_t = 3.0)]
    seconds: f64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Bench {
    #[expect(clippy::print_stdout, reason = "the figures are this command's output")]
    pub(super) fn run(self) -> Result<ExitCode> {
        let (text, json, is_json) = match self.what {
            What::Storage(args) => {
                let found = storage(&StorageOptions {
                    folder: args.path,
                    size_mb: args.size_mb,
                    threads: args.threads,
                    seconds: args.seconds,
                })?;
                (storage_table(&found), serde_json::to_string(&found)?, args.json)
            }
            What::Stream(args) => {
                let cores = || std::thread::available_parallelism().map_or(1, usize::from);
                let settings = args.corpus.settings(Vec::new())?;
                let options = StreamOptions {
                    split: args.split,
                    readers: args.readers.unwrap_or_else(cores),
                    batch_size: args.batch_size,
                    // Of a small corpus it would leave nothing.
                    drop_last: false,
                    ..StreamOptions::from(&settings.train)
                };
                let found = stream(&StreamMeasure {
                    corpus: settings.corpus,
                    options,
                    window_row_groups: settings.train.window_row_groups,
                    read_path: settings.train.read_path,
                    seconds: args.seconds,
                })?;
                (stream_table(&found), serde_json::to_string(&found)?, args.json)
            }
        };
        println!("{}", if is_json { json } else { text });
        Ok(ExitCode::SUCCESS)
    }
}

fn storage_table(found: &Storage) -> String {
    let mut lines = vec![format!("{}, page cache {}", found.folder.display(), found.page_cache)];
    let [first, ..] = &found.patterns;
    let threads = first.rates.iter().map(|rate| format!("{:>9}", rate.threads));
    lines.push(format!("{:<28}{} threads", "", threads.collect::<String>()));
    for pattern in &found.patterns {
        let what = format!("{}, {:.0} kB", pattern.name, pattern.read_bytes as f64 / 1e3);
        let cells = |value: fn(&crate::bench::Rate) -> f64| {
            pattern.rates.iter().map(|rate| format!("{:>9.0}", value(rate))).collect::<String>()
        };
        lines.push(format!("{what:<28}{} MB/s", cells(|rate| rate.mb_per_s)));
        lines.push(format!("{:<28}{} reads/s", "", cells(|rate| rate.reads_per_s)));
    }
    lines.push(format!("jpegs decoded, all cores    {:>9.0} images/s", found.jpegs_decoded_per_s));
    lines.push(String::new());
    lines.push(format!("{:<8}{:<8}{:>8}{:>12}  bound by", "codec", "order", "readers", "images/s"));
    for expected in &found.recommendation.expected {
        lines.push(format!(
            "{:<8}{:<8}{:>8}{:>12.0}  {}",
            expected.codec.name(),
            expected.order.name(),
            expected.readers,
            expected.images_per_s,
            expected.bound
        ));
    }
    lines.push(String::new());
    lines.push(found.recommendation.sentence.clone());
    lines.join("\n")
}

fn stream_table(found: &StreamFigures) -> String {
    let mut lines = vec![
        format!("{} examples of {} px", found.examples, found.size_px),
        format!("first batch after {:.2} s", found.first_batch_s),
        format!("{:<10}{:>8}{:>12}{:>14}", "order", "readers", "images/s", "% of copy"),
    ];
    lines.extend(found.figures.iter().map(|figure| {
        format!(
            "{:<10}{:>8}{:>12.0}{:>14.1}",
            figure.name, figure.readers, figure.images_per_s, figure.percent_of_copy
        )
    }));
    lines.join("\n")
}
