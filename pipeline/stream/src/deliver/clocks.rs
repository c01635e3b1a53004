//! What the readers spend their time on. In: durations, from any reader. Out: their sums. Never says what they mean: that is
//! `wait.rs`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The clocks that all readers of an epoch share.
#[derive(Default)]
pub(crate) struct Clocks {
    /// Building batches, all that follows included.
    pub(super) busy: TimeSum,
    /// The part of it asleep: waiting for a disk or a network.
    pub(super) asleep: TimeSum,
    /// The part of it in the queue for a core.
    pub(super) queued: TimeSum,
    /// Getting stored pixels and, where they are raw, copying them into the batch.
    pub(super) reading: TimeSum,
    /// Decoding JPEGs into the batch.
    pub(super) decoding: TimeSum,
    /// Changing pictures at random.
    pub(super) augmenting: TimeSum,
    /// Waiting for the consumer.
    pub(super) blocked: TimeSum,
}

/// A sum of durations, in nanoseconds.
#[derive(Default)]
pub(super) struct TimeSum(AtomicU64);

impl TimeSum {
    pub(super) fn add(&self, duration: Duration) {
        self.0.fetch_add(duration.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(super) fn add_since(&self, begun: Instant) {
        self.add(begun.elapsed());
    }

    pub(super) fn read(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A reader's stopwatch: how long it was busy, and how much of that it was not running.
pub(super) struct Stopwatch {
    /// What the kernel says of this thread: nanoseconds on a core, and in the queue for one (Linux, `CONFIG_SCHED_INFO`).
    schedstat: Option<File>,
}

impl Stopwatch {
    /// One for the thread that asks.
    pub(super) fn of_this_thread() -> Self {
        Self { schedstat: File::open("/proc/thread-self/schedstat").ok() }
    }

    /// Runs `work`, and adds its time to the clocks. Where the kernel does not say how long the thread ran, all of it counts as
    /// running.
    pub(super) fn time<T>(&self, clocks: &Clocks, work: impl FnOnce() -> T) -> T {
        let (begun, before) = (Instant::now(), self.scheduled());
        let done = work();
        let busy = begun.elapsed();
        clocks.busy.add(busy);
        if let (Some(before), Some(after)) = (before, self.scheduled()) {
            let (ran, queued) =
                (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
            clocks.queued.add(queued);
            clocks.asleep.add(busy.saturating_sub(ran + queued));
        }
        done
    }

    /// For how long the thread has been on a core, and in the queue for one.
    fn scheduled(&self) -> Option<(Duration, Duration)> {
        let mut line = [0; 80];
        let length = self.schedstat.as_ref()?.read_at(&mut line, 0).ok()?;
        let mut numbers = str::from_utf8(&line[..length]).ok()?.split_whitespace();
        let mut next = || numbers.next()?.parse().ok().map(Duration::from_nanos);
        Some((next()?, next()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_is_told_from_running() {
        let (stopwatch, clocks) = (Stopwatch::of_this_thread(), Clocks::default());
        let pause = Duration::from_millis(40);
        stopwatch.time(&clocks, || std::thread::sleep(pause));
        assert!(clocks.busy.read() >= pause);
        if stopwatch.schedstat.is_some() {
            assert!(clocks.asleep.read() >= pause / 2, "{:?}", clocks.asleep.read());
        }
        let asleep_while_running = || {
            let slept = clocks.asleep.read();
            stopwatch.time(&clocks, || {
                let begun = Instant::now();
                while begun.elapsed() < pause {}
            });
            clocks.asleep.read() - slept
        };
        // What a host takes from its guest is neither running nor queued: that is not so each time.
        let is_told = (0..20).any(|_| asleep_while_running() < pause / 2);
        assert!(is_told, "asleep, though it never slept");
    }
}
