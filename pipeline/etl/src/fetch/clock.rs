//! Time limits of one attempt. In: a step of it and how long that may take. Out: the step's result, or which limit passed. Never counts
//! time that we ourselves made it wait: for a place at a host, for memory, for bandwidth; nor
//! the time of a robots.txt, which has a clock of its own.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::fetch::FetchOutcome;
use crate::fetch::attempt::Failure;

/// When an attempt must be over.
pub(super) struct Clock {
    whole: Duration,
    deadline: Instant,
}

impl Clock {
    pub(super) fn start(whole: Duration) -> Self {
        Self { whole, deadline: Instant::now() + whole }
    }

    /// Does `step`, `what` in the message, within `limit` and the whole attempt's limit.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        what: &str,
        step: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        timeout(limit.min(left), step).await.map_err(|_elapsed| {
            let detail = if limit <= left {
                format!("{what} took more than {} s", limit.as_secs())
            } else {
                format!("the whole request took more than {} s", self.whole.as_secs())
            };
            Failure::new(FetchOutcome::Timeout, detail)
        })
    }

    /// Waits for `ours`, which the attempt has not to answer for.
    pub(super) async fn excused<T>(&mut self, ours: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let result = ours.await;
        self.deadline += began.elapsed();
        result
    }
}
