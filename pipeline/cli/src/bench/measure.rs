//! What measurements have in common. In: how long, on how many threads, what to do. Out: how often a second it was done.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// What `--seconds` says.
pub(super) fn duration(seconds: f64) -> Result<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok();
    let duration = duration.filter(|time| !time.is_zero() && *time <= Duration::from_secs(3600));
    duration.with_context(|| {
        format!("--seconds: expected more than 0 and at most 3600, found {seconds:e}")
    })
}

/// 1, 2, 4, … below `most`, and `most`.
pub(super) fn doublings(most: usize) -> Vec<usize> {
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < most).collect();
    counts.push(most.max(1));
    counts
}

/// How often a second `threads` threads together do what `worker` makes each of them, measured over about `seconds`.
pub(super) fn on_threads<W>(
    threads: usize,
    seconds: Duration,
    worker: impl Fn() -> W,
) -> Result<f64>
where
    W: FnMut() -> Result<()> + Send,
{
    let workers: Vec<W> = (0..threads).map(|_| worker()).collect();
    let begun = Instant::now();
    let done = std::thread::scope(|scope| {
        let start = |mut work: W| {
            scope.spawn(move || -> Result<u64> {
                let mut done = 0;
                while begun.elapsed() < seconds {
                    work()?;
                    done += 1;
                }
                Ok(done)
            })
        };
        let running: Vec<_> = workers.into_iter().map(start).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<u64>>| {
            thread.join().map_err(|_| anyhow!("a thread that measured panicked"))?
        };
        running.into_iter().map(join).sum::<Result<u64>>()
    })?;
    Ok(done as f64 / begun.elapsed().as_secs_f64())
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
