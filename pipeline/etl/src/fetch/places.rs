//! Places at hosts. In: a registered domain or an address. Out: one of its `fetch.per_host` places, kept until it is dropped. A
//! request has one of both kinds, so that neither aliases nor redirects bring more to one machine.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Who has places.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Domain(String),
    Address(IpAddr),
}

/// All places.
#[derive(Clone)]
pub(super) struct Places {
    per_host: usize,
    hosts: Arc<Mutex<HashMap<Owner, Arc<Semaphore>>>>,
}

/// One place, given back when it is dropped.
pub(super) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    owner: Owner,
    places: Places,
}

impl Places {
    pub(super) fn new(per_host: usize) -> Self {
        Self { per_host, hosts: Arc::default() }
    }

    /// A place at once, or none.
    pub(super) fn take_free(&self, owner: &Owner) -> Option<Place> {
        let permit = self.semaphore(owner).try_acquire_owned().ok()?;
        Some(self.place(permit, owner))
    }

    /// Waits for a place.
    pub(super) async fn take(&self, owner: &Owner) -> Place {
        let permit = self.semaphore(owner).acquire_owned().await;
        self.place(permit.expect("nobody closes the semaphores"), owner)
    }

    fn place(&self, permit: OwnedSemaphorePermit, owner: &Owner) -> Place {
        Place { permit: Some(permit), owner: owner.clone(), places: self.clone() }
    }

    fn semaphore(&self, owner: &Owner) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        match hosts.get(owner) {
            Some(semaphore) => Arc::clone(semaphore),
            None => {
                let semaphore = Arc::new(Semaphore::new(self.per_host));
                hosts.insert(owner.clone(), Arc::clone(&semaphore));
                semaphore
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = self.places.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that nobody takes a semaphore that is about to go.
        self.permit = None;
        let is_idle = |semaphore: &Arc<Semaphore>| {
            Arc::strong_count(semaphore) == 1
                && semaphore.available_permits() == self.places.per_host
        };
        if hosts.get(&self.owner).is_some_and(is_idle) {
            hosts.remove(&self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_places_than_there_are_and_nothing_is_kept() {
        let (places, owner) = (Places::new(2), Owner::Domain("example.com".to_owned()));
        let first = places.take(&owner).await;
        let second = places.take_free(&owner).unwrap();
        assert!(places.take_free(&owner).is_none());
        assert!(places.take_free(&Owner::Address("127.0.0.1".parse().unwrap())).is_some());
        drop(first);
        let third = places.take(&owner).await;
        drop((second, third));
        assert!(places.hosts.lock().unwrap().is_empty());
    }
}
