//! What a server keeps for its clients between two calls: planned statements until their rows are asked for, prepared ones until they
//! are closed. In: a thing. Out: its handle, which nobody can guess. What was not used for long is thrown away, and what was longest
//! unused if it becomes too much.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// Things of one kind.
pub(super) struct Shelf<T> {
    things: Mutex<HashMap<Uuid, Kept<T>>>,
    bounds: ShelfBounds,
}

/// How much, and for how long.
#[derive(Clone, Copy)]
pub(super) struct ShelfBounds {
    pub(super) most_things: usize,
    /// The weights of all together.
    pub(super) most_weight: usize,
    pub(super) unused_for: Duration,
}

struct Kept<T> {
    thing: Arc<T>,
    weight: usize,
    used: Instant,
}

impl<T> Shelf<T> {
    pub(super) fn new(bounds: ShelfBounds) -> Self {
        Self { things: Mutex::default(), bounds }
    }

    /// Keeps `thing`, of some weight, such as the bytes of its text.
    pub(super) fn put(&self, thing: T, weight: usize) -> Uuid {
        let handle = Uuid::new_v4();
        let mut things = self.things();
        things.retain(|_, kept| kept.used.elapsed() < self.bounds.unused_for);
        let mut total: usize = things.values().map(|kept| kept.weight).sum();
        while things.len() >= self.bounds.most_things || total + weight > self.bounds.most_weight {
            let Some(oldest) = things.iter().min_by_key(|(_, kept)| kept.used) else { break };
            let oldest = *oldest.0;
            total -= things.remove(&oldest).map_or(0, |kept| kept.weight);
        }
        things.insert(handle, Kept { thing: Arc::new(thing), weight, used: Instant::now() });
        handle
    }

    /// What is kept under `handle`.
    pub(super) fn get(&self, handle: &[u8]) -> Option<Arc<T>> {
        let mut things = self.things();
        let kept = things.get_mut(&Uuid::from_slice(handle).ok()?)?;
        if kept.used.elapsed() >= self.bounds.unused_for {
            return None;
        }
        kept.used = Instant::now();
        Some(Arc::clone(&kept.thing))
    }

    /// Takes away what is kept under `handle`.
    pub(super) fn take(&self, handle: &[u8]) -> Option<Arc<T>> {
        let kept = self.things().remove(&Uuid::from_slice(handle).ok()?)?;
        Some(kept.thing)
    }

    /// Nothing is done under the lock that could leave it half done.
    fn things(&self) -> MutexGuard<'_, HashMap<Uuid, Kept<T>>> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(unused_for: Duration) -> Shelf<&'static str> {
        Shelf::new(ShelfBounds { most_things: 2, most_weight: 10, unused_for })
    }

    #[test]
    fn what_is_too_much_or_too_old_is_thrown_away() {
        let kept = shelf(Duration::from_secs(3600));
        let [a, b] = [kept.put("a", 1), kept.put("b", 1)];
        assert_eq!(kept.get(a.as_bytes()).as_deref(), Some(&"a"));
        // `b` is the longest unused.
        let c = kept.put("c", 1);
        assert!(kept.get(b.as_bytes()).is_none());
        assert!(kept.get(a.as_bytes()).is_some() && kept.get(c.as_bytes()).is_some());
        let heavy = kept.put("heavy", 10);
        assert!(kept.get(a.as_bytes()).is_none() && kept.get(c.as_bytes()).is_none());
        assert_eq!(kept.take(heavy.as_bytes()).as_deref(), Some(&"heavy"));
        assert!(kept.take(heavy.as_bytes()).is_none());
        for garbage in [&b""[..], b"x", &[0; 16], &[255; 1000]] {
            assert!(kept.get(garbage).is_none());
        }
        let kept = shelf(Duration::ZERO);
        let a = kept.put("a", 1);
        assert!(kept.get(a.as_bytes()).is_none());
    }
}
