//! What this machine can do. In: a folder, or a corpus. Out: figures, and which settings they speak for. Never changes a
//! corpus, and leaves nothing behind.
//!
//! [`scratch`] is the file that is read past the page cache, `storage` reads it in the patterns of a stream, `choice` makes a
//! recommendation of that; `stream` measures the stream itself on a corpus, beside plain copies of memory; `photo` draws
//! pictures that compress as photos do.

use std::time::Duration;

use anyhow::{Context, Result};

mod choice;
mod photo;
mod scratch;
mod storage;
mod stream;

pub use choice::{Expected, Recommendation};
pub use photo::photo;
pub use storage::{Pattern, Rate, Storage, StorageOptions, storage};
pub use stream::{StreamFigure, StreamFigures, StreamMeasure, stream};

fn duration(seconds: f64) -> Result<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok();
    let duration = duration.filter(|time| !time.is_zero() && *time <= Duration::from_secs(3600));
    duration.with_context(|| {
        format!("--seconds: expected more than 0 and at most 3600, found {seconds:e}")
    })
}

/// 1, 2, 4, … below `most`, and `most`.
fn doublings(most: usize) -> Vec<usize> {
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < most).collect();
    counts.push(most.max(1));
    counts
}

#[cfg(test)]
mod tests {
    use super::{doublings, duration};

    #[test]
    fn times_that_are_none_are_refused() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e30] {
            assert!(duration(seconds).is_err(), "{seconds}");
        }
    }

    #[test]
    fn counts_end_with_the_most() {
        for (most, expected) in [(1, vec![1]), (2, vec![1, 2]), (6, vec![1, 2, 4, 6])] {
            assert_eq!(doublings(most), expected);
        }
    }
}
