//! How fast a disk gives what a stream asks of it. In: a folder on it. Out: sequential and random reads a second by number of
//! threads, and what they speak for. Never reads through the page cache, as far as that can be helped: caches of a disk, a
//! controller or a hypervisor still are part of the figures.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::choice::{Recommendation, recommend};
use super::measure::{doublings, duration, on_threads};
use super::pattern::{Pattern, Rate};
use super::photo::photo;
use super::scratch::{BLOCK_BYTES, Buffer, Cold, Scratch};
use tuwen_corpus::report::Progress;
use tuwen_image::{decode_stored, encode_stored};
use tuwen_settings::{DecodeSettings, PixelCodec};
use tuwen_stream::mix;

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// A folder on the disk.
    pub folder: PathBuf,
    /// Size of the file that is written and read, in MB (2^20 bytes).
    pub size_mb: u64,
    /// Most threads that read at once.
    pub threads: usize,
    /// Duration of each measurement.
    pub seconds: f64,
}

/// The figures of a disk.
#[derive(Clone, Debug, Serialize)]
pub struct Storage {
    /// The folder measured.
    pub folder: PathBuf,
    /// How the page cache was avoided: `bypassed` (`O_DIRECT`) or `dropped` (`posix_fadvise`).
    pub page_cache: &'static str,
    /// What was read: sequentially, at random as raw pictures lie, at random as JPEGs do.
    pub patterns: [Pattern; 3],
    /// JPEGs of 224 px that this machine's cores decode a second, all together.
    pub jpegs_decoded_per_s: f64,
    /// What follows.
    pub recommendation: Recommendation,
}

/// Name, bytes of a read, whether the places are shuffled. A raw picture of 224 px touches 38 blocks, a JPEG of it 5.
const PATTERNS: [(&str, usize, bool); 3] = [
    ("sequential", 1024 * BLOCK_BYTES, false),
    ("random_raw", 38 * BLOCK_BYTES, true),
    ("random_jpeg", 5 * BLOCK_BYTES, true),
];

/// Side of the pictures that are decoded.
const SIZE_PX: u32 = 224;

/// Measures a disk. Takes `15 * seconds` with 16 threads, and the time to write the file.
///
/// # Errors
/// The folder cannot be written to or read; options out of range.
pub fn storage(options: &StorageOptions) -> Result<Storage> {
    ensure!(
        options.size_mb >= 16 && options.threads > 0,
        "expected at least 16 MB and 1 thread, found {} and {}",
        options.size_mb,
        options.threads
    );
    let seconds = duration(options.seconds)?;
    let counts = doublings(options.threads);
    let writing = Progress::start("write", options.size_mb / 4);
    let scratch = Scratch::write(&options.folder, options.size_mb << 20, || writing.add(1))?;
    writing.finish();
    let reading = Progress::start("read", (PATTERNS.len() * counts.len()) as u64 + 1);
    let mut patterns = Vec::with_capacity(PATTERNS.len());
    for (name, read_bytes, shuffled) in PATTERNS {
        let mut rates = Vec::with_capacity(counts.len());
        for &threads in &counts {
            let reads_per_s = reads_per_s(&scratch, read_bytes, shuffled, threads, seconds)?;
            let mb_per_s = reads_per_s * read_bytes as f64 / 1e6;
            rates.push(Rate { threads, reads_per_s, mb_per_s });
            reading.add(1);
        }
        patterns.push(Pattern { name, read_bytes, rates });
    }
    let jpegs_decoded_per_s = jpegs_decoded_per_s(seconds)?;
    reading.finish();
    let patterns = <[Pattern; 3]>::try_from(patterns).expect("there are as many as PATTERNS");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let recommendation = recommend(&patterns, jpegs_decoded_per_s, cores);
    let page_cache = match scratch.cold() {
        Cold::Bypassed => "bypassed",
        Cold::Dropped => "dropped",
    };
    let folder = options.folder.clone();
    Ok(Storage { folder, page_cache, patterns, jpegs_decoded_per_s, recommendation })
}

/// Reads for `seconds` on `threads`, each place once before any comes again.
fn reads_per_s(
    scratch: &Scratch,
    read_bytes: usize,
    shuffled: bool,
    threads: usize,
    seconds: Duration,
) -> Result<f64> {
    let mut places: Vec<u64> = (0..scratch.size_bytes() / read_bytes as u64).collect();
    if shuffled {
        places.sort_by_key(|place| mix(*place));
    }
    scratch.forget(shuffled);
    let next = AtomicUsize::new(0);
    on_threads(threads, seconds, || {
        let mut buffer = Buffer::new(read_bytes);
        let (next, places) = (&next, &places);
        move || {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number > 0 && number.is_multiple_of(places.len()) {
                scratch.forget(shuffled);
            }
            scratch.read(places[number % places.len()] * read_bytes as u64, &mut buffer)
        }
    })
}

/// All cores decode the same pictures, each for itself.
fn jpegs_decoded_per_s(seconds: Duration) -> Result<f64> {
    const PICTURES: u64 = 8;
    let jpeg =
        DecodeSettings { size: SIZE_PX, codec: PixelCodec::Jpeg, ..DecodeSettings::default() };
    let jpegs = (0..PICTURES)
        .map(|seed| Ok(encode_stored(&photo(SIZE_PX as usize, seed), &jpeg)?.into_owned()));
    let jpegs = jpegs.collect::<Result<Vec<_>>>()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    on_threads(cores, seconds, || {
        let (mut turn, mut pixels) = (0, vec![0; (SIZE_PX * SIZE_PX * 3) as usize]);
        let jpegs = &jpegs;
        move || {
            turn += 1;
            decode_stored(PixelCodec::Jpeg, &jpegs[turn % jpegs.len()], &mut pixels)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_measured_and_nothing_is_left_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let options = StorageOptions {
            folder: folder.path().to_owned(),
            size_mb: 16,
            threads: 3,
            // So long that each thread has its turn on a busy machine.
            seconds: 0.2,
        };
        let found = storage(&options).unwrap();
        for pattern in &found.patterns {
            let threads: Vec<usize> = pattern.rates.iter().map(|rate| rate.threads).collect();
            assert_eq!(threads, [1, 2, 3]);
            assert!(pattern.rates.iter().all(|rate| rate.reads_per_s > 0.0), "{pattern:?}");
        }
        assert!(found.jpegs_decoded_per_s > 0.0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let error = storage(&StorageOptions { threads: 0, ..options }).unwrap_err().to_string();
        assert!(error.contains("1 thread"), "{error}");
    }
}
