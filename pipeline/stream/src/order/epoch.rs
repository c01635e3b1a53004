//! The order of an epoch. In: how many rows are selected, the kind of shuffle, seed and epoch. Out: the row that stands at
//! any position, without replaying what came before. Never holds a list of the rows.

use std::ops::Range;
use std::sync::Arc;

use super::permutation::Permutation;
use crate::options::Shuffle;
use crate::random::key;

/// The order of one epoch over the selected rows `0..n`.
pub(crate) struct Order {
    n: u64,
    kind: OrderKind,
}

enum OrderKind {
    Table,
    Global(Permutation),
    Window(Windows),
}

impl Order {
    /// The order of `epoch`. `groups` holds where each row group begins among the selected rows, and at last their number;
    /// only a window shuffle looks at it.
    pub(crate) fn new(
        shuffle: Shuffle,
        seed: u64,
        epoch: u64,
        n: u64,
        groups: &Arc<[u32]>,
    ) -> Self {
        let kind = match shuffle {
            Shuffle::None => OrderKind::Table,
            Shuffle::Global => OrderKind::Global(Permutation::new(n, key(seed, epoch, 0))),
            Shuffle::Window { row_groups } => {
                OrderKind::Window(Windows::new(row_groups, seed, epoch, Arc::clone(groups)))
            }
        };
        Self { n, kind }
    }

    /// Its windows, if it is a window shuffle.
    pub(crate) fn windows(&self) -> Option<&Windows> {
        match &self.kind {
            OrderKind::Window(windows) => Some(windows),
            OrderKind::Table | OrderKind::Global(_) => None,
        }
    }

    /// The selected row at `position`, which is below n.
    pub(crate) fn row(&self, position: u64) -> u64 {
        assert!(position < self.n, "position {position} of {}", self.n);
        match &self.kind {
            OrderKind::Table => position,
            OrderKind::Global(permutation) => permutation.at(position),
            OrderKind::Window(windows) => windows.row(position),
        }
    }
}

/// Whole row groups in random order; a fixed number of them in a row make a window, and rows are shuffled within it.
pub(crate) struct Windows {
    groups_per_window: usize,
    seed: u64,
    epoch: u64,
    /// Where each row group begins among the selected rows, in table order; one more entry than groups.
    table_starts: Arc<[u32]>,
    /// The row groups in this epoch's order.
    shuffled: Vec<u32>,
    /// Where each of `shuffled` begins among the positions; one more entry than groups.
    starts: Vec<u64>,
}

impl Windows {
    fn new(groups_per_window: usize, seed: u64, epoch: u64, table_starts: Arc<[u32]>) -> Self {
        let n_groups = table_starts.len().saturating_sub(1) as u64;
        let permutation = Permutation::new(n_groups, key(seed, epoch, 0));
        let shuffled: Vec<u32> = (0..n_groups).map(|slot| permutation.at(slot) as u32).collect();
        let mut starts = Vec::with_capacity(shuffled.len() + 1);
        let mut position = 0_u64;
        starts.push(position);
        for &group in &shuffled {
            let group = group as usize;
            position += u64::from(table_starts[group + 1] - table_starts[group]);
            starts.push(position);
        }
        Self { groups_per_window, seed, epoch, table_starts, shuffled, starts }
    }

    /// The number of windows.
    pub(crate) fn count(&self) -> usize {
        self.shuffled.len().div_ceil(self.groups_per_window)
    }

    /// The window of `position`.
    pub(crate) fn of(&self, position: u64) -> usize {
        self.slot(position) / self.groups_per_window
    }

    /// The positions of `window`.
    pub(crate) fn positions(&self, window: usize) -> Range<u64> {
        let first = window * self.groups_per_window;
        let last = (first + self.groups_per_window).min(self.shuffled.len());
        self.starts[first]..self.starts[last]
    }

    /// The selected row at `position`.
    pub(crate) fn row(&self, position: u64) -> u64 {
        let window = self.of(position);
        let Range { start: from, end: to } = self.positions(window);
        let permutation =
            Permutation::new(to - from, key(self.seed, self.epoch, 1 + window as u64));
        let place = from + permutation.at(position - from);
        let slot = self.slot(place);
        u64::from(self.table_starts[self.shuffled[slot] as usize]) + place - self.starts[slot]
    }

    /// Which of `shuffled` holds `place`.
    fn slot(&self, place: u64) -> usize {
        self.starts.partition_point(|&start| start <= place) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(shuffle: Shuffle, seed: u64, epoch: u64, groups: &[u32]) -> Vec<u64> {
        let n = u64::from(*groups.last().unwrap());
        let order = Order::new(shuffle, seed, epoch, n, &groups.into());
        (0..n).map(|position| order.row(position)).collect()
    }

    fn assert_bijection(rows: &[u64]) {
        let mut seen = vec![false; rows.len()];
        for &row in rows {
            assert!(
                !std::mem::replace(&mut seen[row as usize], true),
                "row {row} twice of {}",
                rows.len()
            );
        }
    }

    #[test]
    fn every_shuffle_is_a_bijection_at_any_size() {
        let sizes = (1..300).chain([1000, 1023, 1024, 1025, 4099, 10_000, 65_537, 1_000_003]);
        for n in sizes {
            assert_bijection(&rows(Shuffle::Global, 7, u64::from(n), &[0, n]));
            let groups: Vec<u32> = (0..n).step_by(37).chain([n]).collect();
            for row_groups in [1, 3, 1000] {
                assert_bijection(&rows(Shuffle::Window { row_groups }, 7, 1, &groups));
            }
        }
        assert_eq!(rows(Shuffle::None, 7, 1, &[0, 5]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn seeds_and_epochs_give_other_orders_and_the_same_give_the_same() {
        let of = |seed, epoch| rows(Shuffle::Global, seed, epoch, &[0, 5000]);
        assert_eq!(of(1, 2), of(1, 2));
        for (a, b) in [(of(1, 2), of(1, 3)), (of(1, 2), of(2, 2)), (of(1, 2), of(2, 1))] {
            let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
            assert!(same < 12, "{same} of 5000 rows stand in the same place; 1 expected");
        }
    }

    /// Positions say nothing about rows: correlation, and the number of ascending steps (mean (n-1)/2, variance (n+1)/12).
    #[test]
    fn global_order_is_uncorrelated_with_position() {
        let n = 100_003_u32;
        for epoch in 0..5 {
            let rows = rows(Shuffle::Global, 42, epoch, &[0, n]);
            let mean = f64::from(n - 1) / 2.0;
            let variance = (f64::from(n).powi(2) - 1.0) / 12.0;
            let covariance: f64 = rows
                .iter()
                .zip(0_u32..)
                .map(|(&r, p)| (r as f64 - mean) * (f64::from(p) - mean))
                .sum();
            let correlation = covariance / (variance * f64::from(n));
            assert!(correlation.abs() < 5.0 / f64::from(n).sqrt(), "correlation {correlation}");
            let ascents = rows.windows(2).filter(|pair| pair[0] < pair[1]).count() as f64;
            let sigmas = (ascents - mean) / (f64::from(n + 1) / 12.0).sqrt();
            assert!(sigmas.abs() < 5.0, "ascents are {sigmas:.1} sigmas off");
            // Wald and Wolfowitz 1940: runs above and below the median, mean n/2 + 1, variance about n/4.
            let is_high = |row: &u64| *row as f64 > mean;
            let changes = rows.windows(2).filter(|pair| is_high(&pair[0]) != is_high(&pair[1]));
            let runs = 1.0 + changes.count() as f64;
            let sigmas = (runs - (f64::from(n) / 2.0 + 1.0)) / (f64::from(n) / 4.0).sqrt();
            assert!(sigmas.abs() < 5.0, "runs are {sigmas:.1} sigmas off");
        }
    }

    #[test]
    fn a_window_never_reaches_further_than_its_row_groups() {
        let groups: Vec<u32> = (0..=40).map(|group| group * 25).collect();
        let rows = rows(Shuffle::Window { row_groups: 4 }, 3, 0, &groups);
        for window in rows.chunks(100) {
            let mut of: Vec<u64> = window.iter().map(|row| row / 25).collect();
            assert!(
                of.windows(2).any(|pair| pair[0] != pair[1]),
                "a window is shuffled across its row groups"
            );
            of.sort_unstable();
            of.dedup();
            assert_eq!(of.len(), 4);
        }
    }

    /// The reach of a window is its row groups: the rows of one group stand less than that apart, and as evenly as uniform places.
    #[test]
    fn a_window_reaches_as_far_as_its_row_groups() {
        const GROUP_ROWS: usize = 25;
        let groups: Vec<u32> = (0..=400).map(|group| group * GROUP_ROWS as u32).collect();
        for row_groups in [1, 4, 16] {
            let rows = rows(Shuffle::Window { row_groups }, 11, 2, &groups);
            let mut positions = vec![Vec::new(); 400];
            for (position, row) in rows.iter().enumerate() {
                positions[*row as usize / GROUP_ROWS].push(position as f64);
            }
            let reach = (row_groups * GROUP_ROWS) as f64;
            let (mut sum, mut n) = (0.0, 0.0);
            for of_group in &positions {
                let spread = of_group[GROUP_ROWS - 1] - of_group[0];
                assert!(
                    spread < reach,
                    "{spread} positions apart, {row_groups} row groups a window"
                );
                for pair in of_group.chunks_exact(2) {
                    sum += pair[1] - pair[0];
                    n += 1.0;
                }
            }
            // Neighbours among 25 sorted uniform places are reach / 26 apart on average.
            let mean = sum / n / reach;
            let expected = 1.0 / (GROUP_ROWS as f64 + 1.0);
            assert!((mean / expected - 1.0).abs() < 0.1, "{mean} of a window, expected {expected}");
        }
    }
}
