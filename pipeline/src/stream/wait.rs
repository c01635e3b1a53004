//! Who waited for whom. In: clocks of the readers and the consumer. Out: their sums, and one sentence of advice. Never measures
//! anything itself.

use std::ops::AddAssign;
use std::time::Duration;

/// A share of waiting below this is noise: a channel's own cost.
const NEVER: f64 = 0.01;

/// Readers busy for a larger share than this are what the device waits for.
const BUSY: f64 = 0.9;

/// Who waited for whom, since the batches were begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitStats {
    /// Time the consumer spent waiting for a batch.
    pub consumer_waited: Duration,
    /// Time the readers spent building batches, all readers together.
    pub readers_busy: Duration,
    /// Time the readers spent waiting for the consumer, all readers together.
    pub readers_blocked: Duration,
    /// Batches handed out.
    pub batches: u64,
}

impl AddAssign for WaitStats {
    fn add_assign(&mut self, other: Self) {
        self.consumer_waited += other.consumer_waited;
        self.readers_busy += other.readers_busy;
        self.readers_blocked += other.readers_blocked;
        self.batches += other.batches;
    }
}

impl WaitStats {
    /// What to change so that the device waits less, in one sentence. `elapsed` is the time in which the device could have
    /// worked; `readers` and `prefetch` are those of the stream, `cores` those of the machine.
    pub fn advice(
        &self,
        elapsed: Duration,
        readers: usize,
        prefetch: usize,
        cores: usize,
    ) -> String {
        let waited = share(self.consumer_waited, elapsed);
        if waited < NEVER {
            return format!("device never waited for batches ({:.1} %)", 100.0 * waited);
        }
        let busy = share(self.readers_busy, self.readers_busy + self.readers_blocked);
        let advice = if busy < BUSY {
            // They had time, but not when the device wanted batches: a longer queue evens that out.
            format!("raise train.prefetch from {prefetch} to {}", 2 * prefetch)
        } else if readers < cores {
            format!("raise train.readers from {readers} to {}", (2 * readers).min(cores))
        } else {
            format!(
                "{readers} readers keep all {cores} cores busy, so only a faster disk, more cores or smaller pictures help"
            )
        };
        let (waited, busy) = (100.0 * waited, 100.0 * busy);
        format!("device waited {waited:.1} %: readers were busy {busy:.0} %: {advice}")
    }
}

/// `part` of `whole`, 0 of nothing.
fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_fits_the_figures() {
        let ms = Duration::from_millis;
        for (waited, busy, blocked, readers, cores, expected) in [
            (0, 0, 0, 2, 8, "device never waited for batches (0.0 %)"),
            (9, 500, 500, 2, 8, "device never waited for batches (0.9 %)"),
            (
                124,
                1980,
                20,
                2,
                8,
                "device waited 12.4 %: readers were busy 99 %: raise train.readers from 2 to 4",
            ),
            (
                500,
                2900,
                100,
                3,
                4,
                "device waited 50.0 %: readers were busy 97 %: raise train.readers from 3 to 4",
            ),
            (
                500,
                990,
                10,
                2,
                2,
                "device waited 50.0 %: readers were busy 99 %: 2 readers keep all 2 cores busy, so only a faster disk, \
                 more cores or smaller pictures help",
            ),
            (
                30,
                600,
                400,
                2,
                8,
                "device waited 3.0 %: readers were busy 60 %: raise train.prefetch from 4 to 8",
            ),
        ] {
            let wait = WaitStats {
                consumer_waited: ms(waited),
                readers_busy: ms(busy),
                readers_blocked: ms(blocked),
                batches: 1,
            };
            assert_eq!(wait.advice(ms(1000), readers, 4, cores), expected);
        }
    }

    #[test]
    fn epochs_add_up() {
        let one = WaitStats {
            consumer_waited: Duration::from_secs(1),
            batches: 3,
            ..WaitStats::default()
        };
        let mut sum = one;
        sum += one;
        assert_eq!((sum.consumer_waited, sum.batches), (Duration::from_secs(2), 6));
    }
}
