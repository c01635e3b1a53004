//! How many bytes a second all bodies together may bring. In: bytes that came. Out: when the next may.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

/// Bytes may come early by this much of time.
const BURST: Duration = Duration::from_millis(100);

/// A pace for all.
pub(super) struct Pace {
    bytes_per_sec: u64,
    paid_until: Mutex<Instant>,
}

impl Pace {
    /// 0 is no limit.
    pub(super) fn new(bytes_per_sec: u64) -> Self {
        Self { bytes_per_sec, paid_until: Mutex::new(Instant::now()) }
    }

    /// Waits until `n_bytes` that came are paid for.
    pub(super) async fn pay(&self, n_bytes: usize) {
        if self.bytes_per_sec == 0 {
            return;
        }
        let cost = Duration::from_secs_f64(n_bytes as f64 / self.bytes_per_sec as f64);
        let paid = {
            let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
            *paid_until = (*paid_until).max(Instant::now()) + cost;
            *paid_until
        };
        tokio::time::sleep(paid.saturating_duration_since(Instant::now() + BURST)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_at_the_pace() {
        let (pace, began) = (Pace::new(10_000), Instant::now());
        for _ in 0..50 {
            pace.pay(100).await;
        }
        let took = began.elapsed();
        // 5,000 bytes less the burst; a loaded machine takes longer, never shorter.
        assert!(took.as_secs_f64() >= 0.39, "{took:?}");
    }
}
