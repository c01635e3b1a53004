//! Who waited for whom. In: clocks of the readers and the consumer. Out: their sums, and one sentence of advice. Never measures
//! anything itself.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A share of waiting below this is noise: a channel's own cost.
const NEVER: f64 = 0.01;

/// Readers busy for a larger share than this are what the device waits for.
const BUSY: f64 = 0.9;

/// Busy readers that are on a core for a smaller share than this wait for a disk or a network.
const ON_CORE: f64 = 0.5;

/// Readers that wait for a disk at once: more than this many requests a core it does not answer faster.
const READERS_PER_CORE: usize = 8;

/// Who waited for whom, and what the readers did, since the batches were begun. Times of readers are sums over all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitStats {
    /// Time the consumer spent waiting for a batch.
    pub consumer_waited: Duration,
    /// Time the readers spent building batches: reading, decoding, augmenting, and a little else.
    pub readers_busy: Duration,
    /// The part of it that they were on a core; for the rest they waited for a disk, a network, or a core.
    pub readers_on_core: Duration,
    /// Time spent on getting stored pixels and, where they are raw, on copying them into batches.
    pub readers_reading: Duration,
    /// Time spent on decoding JPEGs into batches.
    pub readers_decoding: Duration,
    /// Time spent on changing pictures at random.
    pub readers_augmenting: Duration,
    /// Time the readers spent waiting for the consumer.
    pub readers_blocked: Duration,
    /// Batches handed out.
    pub batches: u64,
}

impl AddAssign for WaitStats {
    fn add_assign(&mut self, other: Self) {
        self.consumer_waited += other.consumer_waited;
        self.readers_busy += other.readers_busy;
        self.readers_on_core += other.readers_on_core;
        self.readers_reading += other.readers_reading;
        self.readers_decoding += other.readers_decoding;
        self.readers_augmenting += other.readers_augmenting;
        self.readers_blocked += other.readers_blocked;
        self.batches += other.batches;
    }
}

/// In seconds.
impl Serialize for WaitStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let times = [
            ("device_waited_s", self.consumer_waited),
            ("readers_busy_s", self.readers_busy),
            ("readers_on_core_s", self.readers_on_core),
            ("readers_reading_s", self.readers_reading),
            ("readers_decoding_s", self.readers_decoding),
            ("readers_augmenting_s", self.readers_augmenting),
            ("readers_blocked_s", self.readers_blocked),
        ];
        serializer.collect_map(times.map(|(name, time)| (name, time.as_secs_f64())))
    }
}

/// One line for people.
impl fmt::Display for WaitStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        write!(
            f,
            "device waited {}; readers: busy {} ({} of it on a core; reading {}, decoding {}, augmenting {}), waited for the \
             device {}",
            seconds(self.consumer_waited),
            seconds(self.readers_busy),
            seconds(self.readers_on_core),
            seconds(self.readers_reading),
            seconds(self.readers_decoding),
            seconds(self.readers_augmenting),
            seconds(self.readers_blocked),
        )
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
        let on_core = share(self.readers_on_core, self.readers_busy);
        let off_core = 100.0 * (1.0 - on_core);
        let more =
            (2 * readers).min(if on_core < ON_CORE { READERS_PER_CORE * cores } else { cores });
        let advice = if busy < BUSY {
            // They had time, but not when the device wanted batches: a longer queue evens that out.
            format!("raise train.prefetch from {prefetch} to {}", 2 * prefetch)
        } else if on_core < ON_CORE && readers < more {
            format!(
                "{off_core:.0} % of it waiting for the disk or the network: raise train.readers from {readers} to {more}"
            )
        } else if on_core < ON_CORE {
            format!(
                "{off_core:.0} % of it waiting for the disk or the network, with {readers} requests at once: only a faster \
                 one or smaller pictures (decode.codec = \"jpeg\") help; `tuwen bench storage` measures it"
            )
        } else if readers < more {
            format!("raise train.readers from {readers} to {more}")
        } else {
            format!(
                "{readers} readers keep all {cores} cores busy, {}: only more cores or less of that help",
                self.most_of_it()
            )
        };
        let (waited, busy) = (100.0 * waited, 100.0 * busy);
        format!("device waited {waited:.1} %: readers were busy {busy:.0} %: {advice}")
    }

    /// What the readers did most.
    fn most_of_it(&self) -> String {
        let stages = [
            ("reading", self.readers_reading),
            ("decoding (decode.codec = \"raw\" needs none)", self.readers_decoding),
            ("augmenting", self.readers_augmenting),
        ];
        let (name, time) = stages.into_iter().max_by_key(|(_, time)| *time).unwrap_or_default();
        format!("{:.0} % of it {name}", 100.0 * share(time, self.readers_busy))
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
        // Milliseconds the device waited, readers were busy, on a core, and blocked; readers and cores.
        for (waited, busy, on_core, blocked, readers, cores, expected) in [
            (0, 0, 0, 0, 2, 8, "device never waited for batches (0.0 %)"),
            (9, 500, 500, 500, 2, 8, "device never waited for batches (0.9 %)"),
            (
                124,
                1980,
                1900,
                20,
                2,
                8,
                "device waited 12.4 %: readers were busy 99 %: raise train.readers from 2 to 4",
            ),
            (
                500,
                2900,
                2900,
                100,
                3,
                4,
                "device waited 50.0 %: readers were busy 97 %: raise train.readers from 3 to 4",
            ),
            (
                500,
                990,
                900,
                10,
                2,
                2,
                "device waited 50.0 %: readers were busy 99 %: 2 readers keep all 2 cores busy, 61 % of it decoding \
                 (decode.codec = \"raw\" needs none): only more cores or less of that help",
            ),
            (
                500,
                1000,
                100,
                0,
                2,
                2,
                "device waited 50.0 %: readers were busy 100 %: 90 % of it waiting for the disk or the network: raise \
                 train.readers from 2 to 4",
            ),
            (
                500,
                1000,
                100,
                0,
                16,
                2,
                "device waited 50.0 %: readers were busy 100 %: 90 % of it waiting for the disk or the network, with 16 \
                 requests at once: only a faster one or smaller pictures (decode.codec = \"jpeg\") help; `tuwen bench \
                 storage` measures it",
            ),
            (
                30,
                600,
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
                readers_on_core: ms(on_core),
                readers_reading: ms(300),
                readers_decoding: ms(600),
                readers_blocked: ms(blocked),
                ..WaitStats::default()
            };
            assert_eq!(wait.advice(ms(1000), readers, 4, cores), expected);
        }
    }

    #[test]
    fn epochs_add_up() {
        let second = Duration::from_secs(1);
        let one = WaitStats {
            consumer_waited: second,
            readers_busy: 2 * second,
            readers_on_core: 3 * second,
            readers_reading: 4 * second,
            readers_decoding: 5 * second,
            readers_augmenting: 6 * second,
            readers_blocked: 7 * second,
            batches: 8,
        };
        let mut sum = one;
        sum += one;
        assert_eq!(
            sum.to_string(),
            "device waited 2.0 s; readers: busy 4.0 s (6.0 s of it on a core; reading 8.0 s, decoding 10.0 s, augmenting \
             12.0 s), waited for the device 14.0 s"
        );
        assert_eq!(sum.batches, 16);
    }
}
