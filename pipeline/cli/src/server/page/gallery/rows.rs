//! The rows of `examples` in the order in which they lie: files by age, and within each as it is. In: a snapshot. Out: which rows
//! follow a place, how many there are of each split and reason, and the rows themselves. What is kept is 9 bytes a row: where a row
//! ended (one byte, a number of a list) and a hash of its id, by which what SQL has chosen finds its rows. Files are read once; those
//! that a later version has too are taken over.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use futures::{StreamExt, TryStreamExt, stream};
use tuwen_corpus::{RowFile, Snapshot};

/// The table.
pub(in crate::server::page) const TABLE: &str = "examples";

/// Files that are read at once.
const FILES_AT_ONCE: usize = 4;

/// What is shown of a row.
const SHOWN: [&str; 5] = ["example_id", "image_id", "split", "text", "reject_reason"];

/// Where a row ended: in a split, or refused for a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server::page) struct Fate {
    pub(in crate::server::page) split: Option<String>,
    pub(in crate::server::page) reason: Option<String>,
}

/// A row as it is shown.
#[derive(Clone, Debug)]
pub(in crate::server::page) struct Example {
    /// Its number over all files.
    pub(in crate::server::page) row: u32,
    pub(in crate::server::page) example_id: String,
    pub(in crate::server::page) image_id: Option<String>,
    pub(in crate::server::page) text: Option<String>,
    pub(in crate::server::page) fate: Fate,
}

/// One file.
struct Part {
    file: RowFile,
    /// Of each row the number of its fate in `names`.
    fates: Vec<u8>,
    names: Vec<Fate>,
    /// Of each row a hash of its id.
    keys: Vec<u64>,
}

/// All rows of one version.
pub(in crate::server::page) struct GalleryRows {
    version: i64,
    parts: Vec<Arc<Part>>,
    /// The number of the first row of each part, and at last of all rows.
    starts: Vec<u32>,
    /// Rows of each fate.
    counts: BTreeMap<Fate, u64>,
}

impl GalleryRows {
    /// The rows of `snapshot`; what `before` has of them is not read again.
    pub(super) async fn open(snapshot: &Snapshot, before: Option<&Self>) -> Result<Self> {
        let known = before.map_or(&[][..], |before| &before.parts);
        let parts = snapshot.plain_files(TABLE)?.into_iter().map(|listed| {
            let known =
                known.iter().find(|part| part.file.listed().path == listed.path).map(Arc::clone);
            let snapshot = snapshot.clone();
            async move {
                if let Some(part) = known {
                    return Ok(part);
                }
                let file = snapshot.open_file(TABLE, listed).await?;
                // On a thread of the runtime of its own: decoding keeps one busy.
                let part = tokio::spawn(Part::read(file));
                part.await.context("a file of `examples` was not read")?.map(Arc::new)
            }
        });
        let parts: Vec<Arc<Part>> =
            stream::iter(parts).buffered(FILES_AT_ONCE).try_collect::<Vec<_>>().await?;
        let (mut starts, mut counts) = (vec![0_u32], BTreeMap::new());
        for part in &parts {
            let end = starts.last().and_then(|start| start.checked_add(part.file.n_rows()));
            starts.push(end.context("table `examples` has more than 2^32 rows")?);
            let mut of_part = vec![0_u64; part.names.len()];
            part.fates.iter().for_each(|&fate| of_part[usize::from(fate)] += 1);
            for (name, n) in part.names.iter().zip(of_part) {
                *counts.entry(name.clone()).or_default() += n;
            }
        }
        Ok(Self { version: snapshot.version(TABLE).unwrap_or(-1), parts, starts, counts })
    }

    /// The version of the table; -1 if it is not there.
    pub(in crate::server::page) fn version(&self) -> i64 {
        self.version
    }

    /// Rows of each fate.
    pub(super) fn counts(&self) -> &BTreeMap<Fate, u64> {
        &self.counts
    }

    /// Number of all rows.
    pub(super) fn n_rows(&self) -> u32 {
        *self.starts.last().expect("there is a last")
    }

    /// The first `most` rows from `from` on that are wanted, ascending.
    pub(in crate::server::page) fn next(
        &self,
        from: u32,
        most: usize,
        wanted: &Wanted<'_>,
    ) -> Vec<u32> {
        let mut found = Vec::new();
        for (part, &start) in self.parts.iter().zip(&self.starts) {
            let end = start + part.file.n_rows();
            if end <= from || found.len() == most {
                continue;
            }
            let is_wanted = wanted.of_part(part);
            if !is_wanted.contains(&true) {
                continue;
            }
            let rows = start.max(from)..end;
            let rows = rows.filter(|row| wanted.has(*row, part.fate(*row - start), &is_wanted));
            found.extend(rows.take(most - found.len()));
        }
        found
    }

    /// The last `most` rows before `before` that are wanted, descending.
    pub(in crate::server::page) fn previous(
        &self,
        before: u32,
        most: usize,
        wanted: &Wanted<'_>,
    ) -> Vec<u32> {
        let mut found = Vec::new();
        for (part, &start) in self.parts.iter().zip(&self.starts).rev() {
            if start >= before || found.len() == most {
                continue;
            }
            let is_wanted = wanted.of_part(part);
            let rows = (start..before.min(start + part.file.n_rows())).rev();
            let rows = rows.filter(|row| wanted.has(*row, part.fate(*row - start), &is_wanted));
            found.extend(rows.take(most - found.len()));
        }
        found
    }

    /// Which rows have one of `keys` (see [`key_of`]), a bit each, and how many of each fate.
    pub(super) fn marked(&self, keys: &std::collections::HashSet<u64>) -> Marks {
        let mut bits = vec![0_u64; (self.n_rows() as usize).div_ceil(64)];
        let mut counts = BTreeMap::new();
        for (part, &start) in self.parts.iter().zip(&self.starts) {
            let mut of_part = vec![0_u64; part.names.len()];
            for (key, row) in part.keys.iter().zip(start..) {
                if keys.contains(key) {
                    bits[row as usize / 64] |= 1 << (row % 64);
                    of_part[usize::from(part.fates[(row - start) as usize])] += 1;
                }
            }
            for (name, n) in part.names.iter().zip(of_part).filter(|(_, n)| *n > 0) {
                *counts.entry(name.clone()).or_default() += n;
            }
        }
        Marks { bits, counts }
    }

    /// The rows that both have marked.
    pub(super) fn marked_by_both(&self, a: &Marks, b: &Marks) -> Marks {
        let bits: Vec<u64> = a.bits.iter().zip(&b.bits).map(|(a, b)| a & b).collect();
        let mut both = Marks { bits, counts: BTreeMap::new() };
        for (part, &start) in self.parts.iter().zip(&self.starts) {
            let mut of_part = vec![0_u64; part.names.len()];
            for (fate, row) in part.fates.iter().zip(start..) {
                of_part[usize::from(*fate)] += u64::from(both.has(row));
            }
            for (name, n) in part.names.iter().zip(of_part).filter(|(_, n)| *n > 0) {
                *both.counts.entry(name.clone()).or_default() += n;
            }
        }
        both
    }

    /// Rows by their numbers, which ascend.
    pub(in crate::server::page) async fn read(&self, rows: &[u32]) -> Result<Vec<Example>> {
        let part_of = |row: u32| self.starts.partition_point(|&start| start <= row) - 1;
        let of_parts = rows.chunk_by(|a, b| part_of(*a) == part_of(*b)).map(|rows| {
            let place = part_of(rows[0]);
            let (part, start) = (Arc::clone(&self.parts[place]), self.starts[place]);
            let rows = rows.to_vec();
            tokio::spawn(async move { part.examples(start, &rows).await })
        });
        let of_parts: Vec<_> = of_parts.collect();
        let mut examples = Vec::with_capacity(rows.len());
        for of_part in of_parts {
            examples.extend(of_part.await.context("a file of `examples` was not read")??);
        }
        Ok(examples)
    }
}

impl Part {
    async fn read(file: RowFile) -> Result<Self> {
        let batches = file.read(&["example_id", "split", "reject_reason"], None).await?;
        let n_rows = file.n_rows() as usize;
        let (mut fates, mut keys) = (Vec::with_capacity(n_rows), Vec::with_capacity(n_rows));
        let mut names: Vec<Fate> = Vec::new();
        for batch in &batches {
            let [ids, splits, reasons] =
                [text(batch, "example_id")?, text(batch, "split")?, text(batch, "reject_reason")?];
            let cell = |column: &StringArray, i: usize| {
                column.is_valid(i).then(|| column.value(i).to_owned())
            };
            let is = |name: &Option<String>, column: &StringArray, i: usize| {
                name.as_deref() == column.is_valid(i).then(|| column.value(i))
            };
            for i in 0..batch.num_rows() {
                let known = names
                    .iter()
                    .position(|f| is(&f.split, &splits, i) && is(&f.reason, &reasons, i));
                let number = known.unwrap_or_else(|| {
                    names.push(Fate { split: cell(&splits, i), reason: cell(&reasons, i) });
                    names.len() - 1
                });
                fates.push(u8::try_from(number).context("more than 256 splits and reasons")?);
                keys.push(key_of(ids.value(i)));
            }
        }
        Ok(Self { file, fates, names, keys })
    }

    fn fate(&self, row: u32) -> u8 {
        self.fates[row as usize]
    }

    /// Rows by their numbers over all files, of which this file's first is `start`.
    async fn examples(&self, start: u32, rows: &[u32]) -> Result<Vec<Example>> {
        let own: Vec<u32> = rows.iter().map(|row| row - start).collect();
        let mut examples = Vec::with_capacity(rows.len());
        for batch in self.file.read(&SHOWN, Some(&own)).await? {
            let [ids, images, splits, texts, reasons] = SHOWN.map(|name| text(&batch, name));
            let (ids, images, splits, texts, reasons) = (ids?, images?, splits?, texts?, reasons?);
            let cell = |column: &StringArray, i: usize| {
                column.is_valid(i).then(|| column.value(i).to_owned())
            };
            for i in 0..batch.num_rows() {
                examples.push(Example {
                    row: rows[examples.len()],
                    example_id: ids.value(i).to_owned(),
                    image_id: cell(&images, i),
                    text: cell(&texts, i),
                    fate: Fate { split: cell(&splits, i), reason: cell(&reasons, i) },
                });
            }
        }
        Ok(examples)
    }
}

/// A column of text, whatever string type the file has.
fn text(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column = batch.column_by_name(name);
    let column = column.with_context(|| format!("table `examples`: no column `{name}`"))?;
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// A hash of an id: of a million ids two are equal once in forty million tables, and then a row too many is shown.
pub(in crate::server::page) fn key_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(id.as_bytes());
    hasher.finish()
}

/// Rows that SQL has chosen.
pub(super) struct Marks {
    bits: Vec<u64>,
    /// How many of each fate.
    pub(super) counts: BTreeMap<Fate, u64>,
}

impl Marks {
    /// Bytes that they take.
    pub(super) fn n_bytes(&self) -> usize {
        self.bits.len() * 8
    }

    fn has(&self, row: u32) -> bool {
        self.bits[row as usize / 64] >> (row % 64) & 1 == 1
    }
}

/// Which rows are wanted.
pub(in crate::server::page) struct Wanted<'a> {
    pub(super) is_wanted: Box<dyn Fn(&Fate) -> bool + Send + Sync + 'a>,
    pub(super) marks: Option<&'a Marks>,
}

impl Wanted<'_> {
    /// Of each fate of a part whether it is wanted.
    fn of_part(&self, part: &Part) -> Vec<bool> {
        part.names.iter().map(|fate| (self.is_wanted)(fate)).collect()
    }

    fn has(&self, row: u32, fate: u8, is_wanted: &[bool]) -> bool {
        is_wanted[usize::from(fate)] && self.marks.is_none_or(|marks| marks.has(row))
    }
}
