//! What the readers spend their time on. In: durations, from any reader. Out: their sums. Never says what they mean: that is
//! `wait.rs`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The clocks that all readers of an epoch share.
#[derive(Default)]
pub(super) struct Clocks {
    /// Building batches, all that follows included.
    pub(super) busy: Clock,
    /// The part of it on a processor; the rest is waiting for a disk, a network, or a core.
    pub(super) on_core: Clock,
    /// Getting stored pixels and, where they are raw, copying them into the batch.
    pub(super) reading: Clock,
    /// Decoding JPEGs into the batch.
    pub(super) decoding: Clock,
    /// Changing pictures at random.
    pub(super) augmenting: Clock,
    /// Waiting for the consumer.
    pub(super) blocked: Clock,
}

/// A sum of durations, in nanoseconds.
#[derive(Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
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

/// For how long this thread has been on a processor.
#[expect(unsafe_code, reason = "a call into libc")]
pub(super) fn on_core() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec` to where it is told, which is `time`.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    // Never with this clock; a time that stands still would be read as waiting.
    assert_eq!(failed, 0, "the clock of a thread cannot be read");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
