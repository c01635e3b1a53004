//! One of `fetch.concurrency` requests under way. In: an attempt that must wait for its host. Out: its slot for another meanwhile, so
//! that one slow host does not hold what others could use.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A slot, while it is held.
pub(super) struct Slot {
    slots: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Slot {
    pub(super) fn new(slots: Arc<Semaphore>, permit: OwnedSemaphorePermit) -> Self {
        Self { slots, permit: Some(permit) }
    }

    /// Waits for one of `slots`.
    pub(super) async fn take(slots: Arc<Semaphore>) -> Self {
        let permit = Arc::clone(&slots).acquire_owned().await.ok();
        Self { slots, permit }
    }

    /// All slots, of which this is one.
    pub(super) fn all(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slots)
    }

    /// Waits for `place` without the slot, then for a slot again.
    pub(super) async fn away<T>(&mut self, place: impl Future<Output = T>) -> T {
        self.permit = None;
        let place = place.await;
        self.permit = Arc::clone(&self.slots).acquire_owned().await.ok();
        place
    }
}
