//! What a stream holds on to: memory, threads, mappings, and a consumer's own buffers.

use std::collections::BTreeSet;
use std::process::Command;

use tuwen_stream::{Batch, Stream, StreamOptions};

use super::fixture::{Fixture, Layout, PIXEL_BYTES};
use super::{open, options};

/// Set in the process that measures: other tests would count in this one's memory and threads.
const ALONE: &str = "TUWEN_TEST_ALONE";

/// Memory of this process that is not file cache, in bytes.
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// What this process has allocated and not freed, in bytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a call into libc")]
fn live_bytes() -> usize {
    // SAFETY: it takes nothing and only counts.
    let counted = unsafe { libc::mallinfo() };
    // Modulo 2^32, which this test is far below.
    [counted.uordblks, counted.hblkhd].map(|bytes| bytes as u32 as usize).into_iter().sum()
}

/// Waits until this process has `n` threads that are readers. On a busy machine one is not there yet when the first batch is, and one
/// that was joined is listed for a moment still.
fn wait_for_readers(n: usize) {
    let patience = std::time::Instant::now();
    while readers() != n && patience.elapsed().as_secs() < 60 {
        std::thread::yield_now();
    }
    assert_eq!(readers(), n);
}

/// Threads of this process that are readers.
fn readers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let tasks = tasks.flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("stream-")).count()
}

/// Files of `corpus` that this process has mapped or open.
fn held_files(corpus: &str) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let open = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    maps.lines().filter(|line| line.contains(corpus)).count()
        + open.filter(|path| path.to_str().is_some_and(|path| path.contains(corpus))).count()
}

/// Runs `measure` for the test of `name` in a process of its own.
fn alone(name: &str, measure: fn()) {
    if std::env::var_os(ALONE).is_some() {
        return measure();
    }
    let name = format!("stream::resources::{name}");
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args([&name, "--exact", "--nocapture"]).env(ALONE, "1");
    let output = alone.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_flat_over_epochs_and_nothing_stays_behind() {
    alone("memory_is_flat_over_epochs_and_nothing_stays_behind", measure_epochs);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn four_bytes_of_each_image_stay_in_memory_and_none_of_an_example() {
    alone("four_bytes_of_each_image_stay_in_memory_and_none_of_an_example", measure_rows);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn measure_rows() {
    let held = |n_images: u64| {
        let fixture = Fixture::large(n_images);
        let before = live_bytes();
        let stream = Stream::open(fixture.location(), options()).unwrap();
        let opened = live_bytes().saturating_sub(before);
        let batches = stream.epoch(0, 0).unwrap();
        let n: usize = batches.map(|batch| batch.unwrap().len()).sum();
        assert_eq!(n, stream.len());
        (opened, live_bytes().saturating_sub(before))
    };
    // The first stream of a process allocates what all of them share.
    held(200);
    let (small, large) = (held(1000), held(81_000));
    for (when, small, large) in [("opened", small.0, large.0), ("read", small.1, large.1)] {
        let bytes_a_row = (large as f64 - small as f64) / 80_000.0;
        // Row groups are of 32 rows here and have 20 bytes each; what threads keep for later makes the rest.
        assert!((3.5..8.0).contains(&bytes_a_row), "{when}: {bytes_a_row:.1} bytes a row");
    }
}

#[cfg(target_os = "linux")]
fn measure_epochs() {
    let fixture = Fixture::new(Layout::Direct);
    let options = StreamOptions { readers: 3, verify: true, ..options() };
    let stream = Stream::open(fixture.location(), options).unwrap();
    let epochs = |numbers: std::ops::Range<u64>| {
        let mut handed_out = 0;
        for number in numbers {
            let mut batches = stream.epoch(number, 0).unwrap();
            while let Some(batch) = batches.next() {
                let batch = batch.unwrap();
                handed_out += batch.pixels.len() as u64;
                batches.recycle(batch);
            }
        }
        (handed_out, anonymous_bytes())
    };
    let (_, settled) = epochs(0..50);
    for third in 0..3 {
        let (handed_out, now) = epochs(50 + third * 100..150 + third * 100);
        let grown = now.saturating_sub(settled);
        assert!(handed_out > 100 << 20, "{handed_out} bytes");
        // What an allocator keeps for threads that come and go varies by some MiB.
        assert!(grown < 8 << 20, "{grown} bytes more after {handed_out} bytes of pixels");
    }
    let mut batches = stream.epoch(0, 0).unwrap();
    drop(batches.next().unwrap().unwrap());
    wait_for_readers(3);
    drop(batches);
    wait_for_readers(0);
    assert!(held_files(fixture.location()) > 0);
    drop(stream);
    assert_eq!(held_files(fixture.location()), 0);
}

#[test]
fn batches_come_in_the_buffers_that_a_consumer_lends() {
    let stream = open(StreamOptions { readers: 3, prefetch: 2, ..options() });
    let capacity = 7 * PIXEL_BYTES;
    assert_eq!(stream.n_buffers(), 3 * 3 + 2);
    let mut lent = BTreeSet::new();
    for _ in 0..stream.n_buffers() {
        let batch = Batch { pixels: Vec::with_capacity(capacity), ..Batch::default() };
        lent.insert(batch.pixels.as_ptr());
        stream.lend(batch);
    }
    let mut seen = BTreeSet::new();
    for epoch in 0..40 {
        let mut batches = stream.epoch(epoch, 0).unwrap();
        let mut before: Option<Batch> = None;
        // Some epochs are left early, and the consumer always holds two batches.
        let n_taken = if epoch % 3 == 1 { 5 } else { stream.batches_per_epoch() };
        for _ in 0..n_taken {
            let batch = batches.next().unwrap().unwrap();
            assert_eq!(batch.pixels.capacity(), capacity, "reallocated");
            assert!(lent.contains(&batch.pixels.as_ptr()), "epoch {epoch}: not a lent buffer");
            seen.insert(batch.pixels.as_ptr());
            if let Some(done) = before.replace(batch) {
                batches.recycle(done);
            }
        }
        if let Some(done) = before {
            batches.recycle(done);
        }
    }
    assert_eq!(seen, lent, "every buffer goes round");
}
