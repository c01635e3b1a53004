//! Groups of near-identical images. In: thumbnails and looks. Out: for each image the first of its group: two images are in one group
//! if they are near, or if others between them are (connected components). All pairs of about the same lightness are compared, so
//! time grows with the square of the number of images, and memory by 3 kB an image.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::near_index::{NearIndex, Row};
use crate::outline::Outline;

/// Images that a thread takes at once.
const IMAGES_AT_ONCE: usize = 256;

/// For each of `images` the smallest place of its group, its own where none is near it, by `n_threads` threads; `limit` as in
/// [`NearIndex::new`].
pub fn near_groups(limit: f64, images: Vec<Row>, n_threads: usize) -> Vec<u32> {
    let mut sorted: Vec<(u32, Outline, Row)> =
        (0..).zip(images).map(|(place, image)| (place, Outline::of(&image.0), image)).collect();
    sorted.sort_unstable_by(|(_, a, a_image), (_, b, b_image)| {
        a.luma.cmp(&b.luma).then_with(|| a_image.cmp(b_image))
    });
    let mut places = Vec::with_capacity(sorted.len());
    let rows = sorted.into_iter().map(|(place, outline, image)| {
        places.push(place);
        (outline, image)
    });
    let index = NearIndex::of_sorted(limit, rows.collect());
    let next = AtomicUsize::new(0);
    let of_thread = || {
        let mut groups = Groups::new(index.len());
        loop {
            let first = next.fetch_add(IMAGES_AT_ONCE, Ordering::Relaxed);
            if first >= index.len() {
                return groups;
            }
            for i in first..(first + IMAGES_AT_ONCE).min(index.len()) {
                // Those that are in its group already tell nothing new.
                let found = std::cell::RefCell::new(&mut groups);
                index.each_before(
                    i,
                    |other| !found.borrow_mut().are_one(i, other),
                    |other| found.borrow_mut().join(i, other),
                );
            }
        }
    };
    let mut groups = Groups::new(index.len());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads.max(1)).map(|_| scope.spawn(of_thread)).collect();
        for thread in threads {
            let mut found = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for i in 0..index.len() {
                let first = found.first(i);
                groups.join(i, first);
            }
        }
    });
    // From the order of the index to that of the images.
    let mut smallest: Vec<u32> = vec![u32::MAX; index.len()];
    for (i, place) in places.iter().enumerate() {
        let first = groups.first(i);
        smallest[first] = smallest[first].min(*place);
    }
    let mut group_of = vec![0; index.len()];
    for (i, place) in places.iter().enumerate() {
        group_of[*place as usize] = smallest[groups.first(i)];
    }
    group_of
}

/// Disjoint sets (union-find, with path halving).
struct Groups(Vec<u32>);

impl Groups {
    fn new(n: usize) -> Self {
        Self((0..n as u32).collect())
    }

    fn first(&mut self, mut i: usize) -> usize {
        while self.0[i] as usize != i {
            self.0[i] = self.0[self.0[i] as usize];
            i = self.0[i] as usize;
        }
        i
    }

    fn are_one(&mut self, a: usize, b: usize) -> bool {
        self.first(a) == self.first(b)
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.first(a), self.first(b));
        self.0[a.max(b)] = a.min(b) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near_difference;

    const LIMIT: f64 = 0.035;

    /// A picture of a block at `left`, of `level`, on a ground of 230, with some noise.
    fn row(left: usize, level: u8, noise: u8) -> Row {
        let mut pixels = vec![230; 48 * 48 * 3];
        for y in 10..30 {
            for x in left..left + 14 {
                pixels[(y * 48 + x) * 3 + 1] = level;
            }
        }
        for at in (0..pixels.len()).step_by(97) {
            pixels[at] ^= noise;
        }
        (crate::thumb(&pixels, 48), Some(Box::new(crate::look(&pixels, 48))))
    }

    #[test]
    fn groups_are_the_connected_components_of_all_pairs() {
        let mut images = Vec::new();
        for (left, level) in [(4, 20), (18, 20), (30, 20), (18, 140)] {
            images.extend([0, 1, 2, 3, 0].map(|noise| row(left, level, noise)));
        }
        images.swap(1, 17);
        images.swap(4, 9);
        images.push(row(18, 200, 0));
        // Each image takes the smallest place of any it can be reached from.
        let n = images.len();
        let is_near = |a: &Row, b: &Row| {
            let difference = near_difference((&a.0, a.1.as_deref()), (&b.0, b.1.as_deref()));
            difference.is_some_and(|difference| f64::from(difference) <= LIMIT)
        };
        let mut expected: Vec<u32> = (0..n as u32).collect();
        for _ in 0..n {
            for i in 0..n {
                for j in 0..n {
                    if is_near(&images[i], &images[j]) {
                        let least = expected[i].min(expected[j]);
                        (expected[i], expected[j]) = (least, least);
                    }
                }
            }
        }
        let n_groups = expected.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert!((3..=8).contains(&n_groups), "{expected:?}");
        for n_threads in [1, 2, 7] {
            assert_eq!(near_groups(LIMIT, images.clone(), n_threads), expected);
        }
        assert!(near_groups(LIMIT, Vec::new(), 2).is_empty());
    }
}
