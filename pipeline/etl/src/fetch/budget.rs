//! Memory for bodies under way. In: how many bytes a body needs. Out: leave to hold them, until it is dropped. A body that finds no
//! memory left waits; one at a time may go on all the same, so that not all wait for each other, and so the limit is exceeded by
//! one body at most.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// The unit of account.
const BLOCK_BYTES: u64 = 64 << 10;

/// The memory there is.
#[derive(Clone)]
pub(super) struct Budget {
    blocks: Arc<Semaphore>,
    overdraft: Arc<Mutex<()>>,
}

/// What one body holds of it.
#[derive(Default)]
pub(super) struct Held {
    blocks: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedMutexGuard<()>>,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        let blocks = (bytes / BLOCK_BYTES).clamp(1, Semaphore::MAX_PERMITS as u64);
        Self { blocks: Arc::new(Semaphore::new(blocks as usize)), overdraft: Arc::default() }
    }

    /// Makes `held` enough for `bytes`; whether that took waiting.
    pub(super) async fn grow(&self, held: &mut Held, bytes: u64) -> bool {
        let has = held.blocks.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) as u64;
        let wanted = bytes.div_ceil(BLOCK_BYTES);
        if held.overdraft.is_some() || wanted <= has {
            return false;
        }
        let missing = u32::try_from(wanted - has).unwrap_or(u32::MAX);
        if let Ok(more) = Arc::clone(&self.blocks).try_acquire_many_owned(missing) {
            held.add(more);
            return false;
        }
        tokio::select! {
            more = Arc::clone(&self.blocks).acquire_many_owned(missing) => {
                held.add(more.expect("nobody closes the semaphore"));
            }
            overdraft = Arc::clone(&self.overdraft).lock_owned() => {
                held.overdraft = Some(overdraft);
            }
        }
        true
    }
}

impl Held {
    /// Gives back what is more than enough for `bytes`.
    pub(super) fn shrink(&mut self, bytes: u64) {
        if let Some(blocks) = &mut self.blocks {
            let enough = usize::try_from(bytes.div_ceil(BLOCK_BYTES)).unwrap_or(usize::MAX);
            drop(blocks.split(blocks.num_permits().saturating_sub(enough)));
        }
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.blocks {
            Some(blocks) => blocks.merge(more),
            None => self.blocks = Some(more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_bodies_get_through_however_little_memory_there_is() {
        let budget = Budget::new(4 * BLOCK_BYTES);
        let bodies = (0..50).map(|n| {
            let budget = budget.clone();
            tokio::spawn(async move {
                let mut held = Held::default();
                for blocks in 1..=n {
                    budget.grow(&mut held, blocks * BLOCK_BYTES).await;
                    tokio::task::yield_now().await;
                }
            })
        });
        futures::future::try_join_all(bodies).await.unwrap();
        assert_eq!(budget.blocks.available_permits(), 4);
        assert!(budget.overdraft.try_lock().is_ok());
    }
}
