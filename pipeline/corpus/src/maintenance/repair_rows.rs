//! What a repair does to a table. In: what is wrong with its files and rows. Out: files that leave
//! it, what is kept of them, and how many rows go for which reason. Never writes anything.

use std::collections::{BTreeMap, BTreeSet};

use super::health::{Checkup, Health};
use super::keys::RowsByFile;
use super::rewrite::Source;

/// Reasons for which rows go, in the order in which they are looked for.
pub(crate) mod reason {
    /// Their file is not there.
    pub(crate) const MISSING_FILE: &str = "missing_file";
    /// Their file, or their part of it, cannot be read.
    pub(crate) const UNREADABLE: &str = "unreadable";
    /// Their pixels are not those that were written.
    pub(crate) const DAMAGED_PIXELS: &str = "damaged_pixels";
    /// Their picture file is not the one that was got.
    pub(crate) const DAMAGED_BYTES: &str = "damaged_bytes";
    /// Another row has their key.
    pub(crate) const DUPLICATE_KEY: &str = "duplicate_key";
    /// The picture file that they were decoded from is not there any more.
    pub(crate) const NO_ORIGINAL: &str = "no_original";
    /// They are decoded under no known codec.
    pub(crate) const NO_CODEC: &str = "no_codec";
}

/// What is to happen to one table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Files that leave it.
    pub(crate) leaving: BTreeSet<String>,
    /// What is kept of them; one that keeps nothing is not here.
    pub(crate) sources: Vec<Source>,
    /// Rows that go, by reason.
    pub(crate) dropped: BTreeMap<&'static str, u64>,
    /// Rows that get another number.
    pub(crate) renumbered: u64,
}

impl Plan {
    /// Whether nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.leaving.is_empty()
    }

    fn drop_rows(&mut self, reason: &'static str, n: u64) {
        if n > 0 {
            *self.dropped.entry(reason).or_default() += n;
        }
    }

    /// Takes away what cannot be read or is not what was written.
    pub(crate) fn damage(checkup: &Checkup) -> Self {
        let mut plan = Self::default();
        for health in &checkup.files {
            plan.damage_of(checkup.name, health);
        }
        plan
    }

    fn damage_of(&mut self, name: &str, health: &Health) {
        let is_as_the_log_says = health.wrong_size().is_none() && health.wrong_rows().is_none();
        let is_whole = !health.loses_rows() && health.damaged.is_empty();
        if is_as_the_log_says && is_whole {
            return;
        }
        self.leaving.insert(health.file.path.clone());
        let Some(source) = Source::of(health) else {
            let is_missing = health.open.is_none();
            let why = if is_missing { reason::MISSING_FILE } else { reason::UNREADABLE };
            self.drop_rows(why, health.n_rows());
            return;
        };
        let unreadable = source.left_out.iter().map(|group| {
            let rows = health.rows_of(*group);
            rows.end - rows.start
        });
        self.drop_rows(reason::UNREADABLE, unreadable.sum());
        let damaged = if name == "images" { reason::DAMAGED_PIXELS } else { reason::DAMAGED_BYTES };
        self.drop_rows(damaged, source.dropped.len() as u64);
        self.sources.push(source);
    }

    /// Takes `surplus` rows away and gives others new `numbers`; the files are those of `checkup`.
    pub(crate) fn duplicates(
        checkup: &Checkup,
        surplus: RowsByFile,
        numbers: BTreeMap<usize, BTreeMap<u64, i64>>,
    ) -> Self {
        let mut plan = Self::default();
        plan.take_away(checkup, reason::DUPLICATE_KEY, surplus);
        for (place, numbers) in numbers {
            let Some(source) = plan.source_of(&checkup.files[place]) else { continue };
            let n = numbers.len() as u64;
            source.renumbered = numbers;
            plan.renumbered += n;
        }
        plan
    }

    /// Takes rows away for `why`; those that go already are not counted again.
    pub(crate) fn take_away(&mut self, checkup: &Checkup, why: &'static str, rows: RowsByFile) {
        let mut n = 0;
        for (place, rows) in rows {
            let Some(source) = self.source_of(&checkup.files[place]) else { continue };
            let before = source.dropped.len();
            source.dropped.extend(rows);
            n += (source.dropped.len() - before) as u64;
        }
        self.drop_rows(why, n);
    }

    /// What is kept of a file, which leaves now if it stayed so far; none if it cannot be read.
    fn source_of(&mut self, health: &Health) -> Option<&mut Source> {
        let source = Source::of(health)?;
        if self.leaving.insert(health.file.path.clone()) {
            self.sources.push(source);
        }
        self.sources.iter_mut().find(|source| source.path == health.file.path)
    }
}
