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

/// What readers do for a larger share of their busy time than this is what makes them slow.
const MOSTLY: f64 = 0.5;

/// Readers that wait for a disk at once: more than this many requests a core it does not answer faster.
const READERS_PER_CORE: usize = 8;

/// Who waited for whom, and what the readers did, since the batches were begun. Times of readers are sums over all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitStats {
    /// Time the consumer spent waiting for a batch.
    pub consumer_waited: Duration,
    /// Time the readers spent building batches: reading, decoding, augmenting, and a little else.
    pub readers_busy: Duration,
    /// The part of it that they waited for a disk or a network.
    pub readers_asleep: Duration,
    /// The part of it that they waited for a core.
    pub readers_queued: Duration,
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
        self.readers_asleep += other.readers_asleep;
        self.readers_queued += other.readers_queued;
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
            ("readers_asleep_s", self.readers_asleep),
            ("readers_queued_s", self.readers_queued),
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
            "device waited {}; readers: busy {} (reading {}, decoding {}, augmenting {}; of it waiting for the disk or the \
             network {}, for a core {}), waited with full queues {}",
            seconds(self.consumer_waited),
            seconds(self.readers_busy),
            seconds(self.readers_reading),
            seconds(self.readers_decoding),
            seconds(self.readers_augmenting),
            seconds(self.readers_asleep),
            seconds(self.readers_queued),
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
            return format!("device waited {:.1} %: nothing to gain there", 100.0 * waited);
        }
        // Of that time, not of all: while a trainer evaluates or saves, the readers wait with full queues.
        let busy = share(self.readers_busy, elapsed * readers as u32).min(1.0);
        let [asleep, queued] =
            [self.readers_asleep, self.readers_queued].map(|time| share(time, self.readers_busy));
        let most = if asleep > MOSTLY { READERS_PER_CORE * cores } else { cores };
        let more = (2 * readers).min(most);
        let advice = if busy < BUSY {
            // They had time, but not when the device wanted batches: a longer queue evens that out.
            format!("raise train.prefetch from {prefetch} to {}", 2 * prefetch)
        } else if asleep > MOSTLY && readers < more {
            format!(
                "{:.0} % of it waiting for the disk or the network: raise train.readers from {readers} to {more}",
                100.0 * asleep
            )
        } else if asleep > MOSTLY {
            format!(
                "{:.0} % of it waiting for the disk or the network, with {readers} requests at once: only a faster one, \
                 train.order = \"window\" or smaller pictures (decode.codec = \"jpeg\") help; `tuwen bench storage` \
                 measures it",
                100.0 * asleep
            )
        } else if queued > MOSTLY {
            format!(
                "{:.0} % of it waiting for one of the {cores} cores: lower train.threads, or stop what else runs",
                100.0 * queued
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
        // Milliseconds the device waited, readers were busy, of it asleep and queued, and blocked; readers and cores.
        for (waited, [busy, asleep, queued, blocked], readers, cores, expected) in [
            (0, [0, 0, 0, 0], 2, 8, "device waited 0.0 %: nothing to gain there"),
            (9, [500, 0, 0, 500], 2, 8, "device waited 0.9 %: nothing to gain there"),
            (
                124,
                [1980, 80, 0, 20],
                2,
                8,
                "device waited 12.4 %: readers were busy 99 %: raise train.readers from 2 to 4",
            ),
            (
                500,
                [2900, 0, 0, 100],
                3,
                4,
                "device waited 50.0 %: readers were busy 97 %: raise train.readers from 3 to 4",
            ),
            (
                500,
                [1980, 180, 0, 20],
                2,
                2,
                "device waited 50.0 %: readers were busy 99 %: 2 readers keep all 2 cores busy, 61 % of it decoding \
                 (decode.codec = \"raw\" needs none): only more cores or less of that help",
            ),
            (
                500,
                [2000, 200, 1200, 0],
                2,
                2,
                "device waited 50.0 %: readers were busy 100 %: 60 % of it waiting for one of the 2 cores: lower \
                 train.threads, or stop what else runs",
            ),
            (
                500,
                [2000, 1800, 0, 0],
                2,
                2,
                "device waited 50.0 %: readers were busy 100 %: 90 % of it waiting for the disk or the network: raise \
                 train.readers from 2 to 4",
            ),
            (
                500,
                [16_000, 14_400, 800, 0],
                16,
                2,
                "device waited 50.0 %: readers were busy 100 %: 90 % of it waiting for the disk or the network, with 16 \
                 requests at once: only a faster one, train.order = \"window\" or smaller pictures (decode.codec = \
                 \"jpeg\") help; `tuwen bench storage` measures it",
            ),
            // Half as long again the trainer evaluated.
            (
                500,
                [2000, 0, 0, 1000],
                2,
                8,
                "device waited 50.0 %: readers were busy 100 %: raise train.readers from 2 to 4",
            ),
            (
                30,
                [1200, 0, 0, 800],
                2,
                8,
                "device waited 3.0 %: readers were busy 60 %: raise train.prefetch from 4 to 8",
            ),
        ] {
            let wait = WaitStats {
                consumer_waited: ms(waited),
                readers_busy: ms(busy),
                readers_asleep: ms(asleep),
                readers_queued: ms(queued),
                readers_reading: ms(600),
                readers_decoding: ms(1200),
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
            readers_reading: 3 * second,
            readers_decoding: 4 * second,
            readers_augmenting: 5 * second,
            readers_asleep: 6 * second,
            readers_queued: 7 * second,
            readers_blocked: 8 * second,
            batches: 8,
        };
        let mut sum = one;
        sum += one;
        assert_eq!(
            sum.to_string(),
            "device waited 2.0 s; readers: busy 4.0 s (reading 6.0 s, decoding 8.0 s, augmenting 10.0 s; of it waiting for \
             the disk or the network 12.0 s, for a core 14.0 s), waited with full queues 16.0 s"
        );
        assert_eq!(sum.batches, 16);
    }
}
