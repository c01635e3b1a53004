//! What is wrong with the files of a table. In: the files that its log names, those that lie in
//! its folder, and how thoroughly to look. Out: for each file whether it can be read, and which of
//! its rows cannot, or are not what they were when they were written. Never changes anything.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::{StreamExt, TryStreamExt, stream};

use super::Depth;
use super::store_file::{OpenFile, Readable, StoreFile};
use crate::id::{hex, id_of};
use crate::plain_files::PlainFile;
use crate::report::Progress;
use crate::snapshot::Snapshot;

/// Footers asked for at once: a store takes its time to answer, a disk does not mind.
const FOOTERS_AT_ONCE: usize = 16;

/// A table's files.
#[derive(Debug)]
pub(crate) struct Checkup {
    /// The table.
    pub(crate) name: &'static str,
    /// Its files, oldest first.
    pub(crate) files: Vec<Health>,
    /// Files of its folder that its newest version does not have.
    pub(crate) others: Others,
}

/// Files that a table's newest version does not have; an older version may.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Others {
    /// Their number.
    pub(crate) n: u64,
    /// Their size in all.
    pub(crate) bytes: u64,
}

/// What is known of one file.
#[derive(Debug)]
pub(crate) struct Health {
    /// As the log describes it.
    pub(crate) file: PlainFile,
    /// Its size by the store; none if it is not there.
    pub(crate) lying_bytes: Option<u64>,
    /// Its footer, or why that cannot be read; none if the file is not there.
    pub(crate) open: Option<Result<OpenFile, String>>,
    /// Row groups that cannot be read, and why.
    pub(crate) unreadable: Vec<(usize, String)>,
    /// Rows that are not what was written.
    pub(crate) damaged: BTreeSet<u64>,
}

impl Health {
    /// The footer, if it can be read.
    pub(crate) fn readable(&self) -> Option<&OpenFile> {
        self.open.as_ref()?.as_ref().ok()
    }

    /// Rows, by the footer if it can be read, otherwise by the log.
    pub(crate) fn n_rows(&self) -> u64 {
        self.readable().map_or(self.file.n_rows.unwrap_or(0), OpenFile::n_rows)
    }

    /// The rows of a row group.
    pub(crate) fn rows_of(&self, group: usize) -> Range<u64> {
        self.readable().and_then(|open| open.groups().get(group).cloned()).unwrap_or(0..0)
    }

    /// Sizes by the log and by the store, if they differ.
    pub(crate) fn wrong_size(&self) -> Option<(u64, u64)> {
        let lying = self.lying_bytes?;
        (lying != self.file.bytes).then_some((self.file.bytes, lying))
    }

    /// Numbers of rows by the log and by the footer, if they differ.
    pub(crate) fn wrong_rows(&self) -> Option<(u64, u64)> {
        let (by_log, open) = (self.file.n_rows?, self.readable()?);
        (by_log != open.n_rows()).then(|| (by_log, open.n_rows()))
    }

    /// Whether any of its rows cannot be got at.
    pub(crate) fn loses_rows(&self) -> bool {
        self.readable().is_none() || !self.unreadable.is_empty()
    }
}

impl Checkup {
    /// Whether all rows of the table can be got at.
    pub(crate) fn is_readable(&self) -> bool {
        !self.files.iter().any(Health::loses_rows)
    }

    /// Rows by the log.
    pub(crate) fn n_rows(&self) -> u64 {
        self.files.iter().map(|health| health.file.n_rows.unwrap_or_else(|| health.n_rows())).sum()
    }
}

/// How much a check of `names` is: files, or rows if all pages are read.
pub(crate) fn amount(snapshot: &Snapshot, names: &[&'static str], depth: Depth) -> Result<u64> {
    let mut amount = 0;
    for name in names {
        let files = snapshot.plain_files(name)?;
        amount += match depth {
            Depth::Footers => files.len() as u64,
            Depth::Pages => files.iter().filter_map(|file| file.n_rows).sum(),
        };
    }
    Ok(amount)
}

/// Checks the files of table `name`.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn check(
    snapshot: &Snapshot,
    name: &'static str,
    depth: Depth,
    progress: &Progress,
) -> Result<Checkup> {
    let store = snapshot.store_of(name);
    let mut folder = snapshot.folder(name).await?;
    let files = snapshot.plain_files(name)?.into_iter().map(|file| {
        let lying = folder.remove(&file.store_path);
        let store = &store;
        async move {
            let lying_bytes = lying.map(|lying| lying.bytes);
            let mut open = None;
            if let Some(bytes) = lying_bytes {
                let stored = StoreFile::new(Arc::clone(store), file.store_path.clone(), bytes);
                open = Some(stored.open().await?);
            }
            if depth == Depth::Footers {
                progress.add(1);
            }
            let (unreadable, damaged) = (Vec::new(), BTreeSet::new());
            Ok::<_, anyhow::Error>(Health { file, lying_bytes, open, unreadable, damaged })
        }
    });
    let files: Vec<_> = files.collect();
    let others = folder.values().fold(Others::default(), |sum, lying| Others {
        n: sum.n + 1,
        bytes: sum.bytes + lying.bytes,
    });
    let mut files: Vec<Health> =
        stream::iter(files).buffered(FOOTERS_AT_ONCE).try_collect().await?;
    if depth == Depth::Pages {
        read_pages(name, &mut files, progress).await?;
    }
    Ok(Checkup { name, files, others })
}

/// Reads all row groups of `files`, as many at once as there are cores.
async fn read_pages(name: &'static str, files: &mut [Health], progress: &Progress) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut groups = Vec::new();
    for (i, health) in files.iter().enumerate() {
        let Some(open) = health.readable() else { continue };
        for (group, rows) in open.groups().into_iter().enumerate() {
            groups.push((i, group, rows, open.clone()));
        }
    }
    let mut checked = stream::iter(groups)
        .map(|(i, group, rows, open)| async move {
            let n_rows = rows.end - rows.start;
            // On a task of its own, since a decoder that meets nonsense may panic.
            let task = tokio::spawn(check_group(name, open, group, rows.start));
            let found = match task.await {
                Ok(found) => found.with_context(|| format!("table `{name}`"))?,
                Err(_) => Err("its pages make no sense".to_owned()),
            };
            Ok::<_, anyhow::Error>((i, group, n_rows, found))
        })
        .buffered(cores);
    let mut found = Vec::new();
    while let Some((i, group, n_rows, result)) = checked.try_next().await? {
        progress.add(n_rows);
        match result {
            Ok(damaged) if damaged.is_empty() => {}
            result => found.push((i, group, result)),
        }
    }
    drop(checked);
    for (i, group, result) in found {
        match result {
            Ok(damaged) => files[i].damaged.extend(damaged),
            Err(why) => files[i].unreadable.push((group, why)),
        }
    }
    Ok(())
}

/// Reads one row group; its damaged rows, counted from the file's first.
async fn check_group(
    name: &'static str,
    open: OpenFile,
    group: usize,
    first_row: u64,
) -> Readable<Vec<u64>> {
    let mut reader = open.read(group, name, None)?;
    let mut damaged = Vec::new();
    let mut row = first_row;
    loop {
        let batch = match reader.next().await? {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(Ok(damaged)),
            Err(why) => return Ok(Err(why)),
        };
        damaged.extend(damaged_rows(name, &batch).into_iter().map(|i| row + i as u64));
        row += batch.num_rows() as u64;
    }
}

/// The rows of `batch` whose bytes are not those that were written, by the sums beside them.
fn damaged_rows(name: &str, batch: &RecordBatch) -> Vec<usize> {
    match name {
        "images" => damaged_pixels(batch).unwrap_or_default(),
        "originals" => damaged_bytes(batch).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn damaged_pixels(batch: &RecordBatch) -> Option<Vec<usize>> {
    let pixels = batch.column_by_name("pixels")?.as_binary_opt::<i32>()?;
    let crcs = batch.column_by_name("pixels_crc32")?.as_primitive_opt::<Int64Type>()?;
    let is_damaged = |i: &usize| match (pixels.is_valid(*i), crcs.is_valid(*i)) {
        (true, true) => i64::from(crc32fast::hash(pixels.value(*i))) != crcs.value(*i),
        (false, has_crc) => has_crc,
        // A row that was written without a sum cannot be judged.
        (true, false) => false,
    };
    Some((0..batch.num_rows()).filter(is_damaged).collect())
}

fn damaged_bytes(batch: &RecordBatch) -> Option<Vec<usize>> {
    let bytes = batch.column_by_name("bytes")?.as_binary_opt::<i32>()?;
    let ids = batch.column_by_name("image_id")?.as_string_opt::<i32>()?;
    let is_damaged = |i: &usize| match (bytes.is_valid(*i), ids.is_valid(*i)) {
        (true, true) => hex(id_of(bytes.value(*i))) != ids.value(*i),
        (has_bytes, has_id) => has_bytes != has_id,
    };
    Some((0..batch.num_rows()).filter(is_damaged).collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};

    use super::*;

    #[test]
    fn rows_whose_bytes_are_not_those_that_were_written_are_found() {
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![
            Some(&b"abc"[..]),
            Some(b"abd"),
            None,
            None,
            Some(b"x"),
        ]));
        let crc = i64::from(crc32fast::hash(b"abc"));
        let crcs: ArrayRef =
            Arc::new(Int64Array::from(vec![Some(crc), Some(crc), None, Some(1), None]));
        let images =
            RecordBatch::try_from_iter([("pixels", Arc::clone(&bytes)), ("pixels_crc32", crcs)]);
        assert_eq!(damaged_rows("images", &images.unwrap()), [1, 3]);

        let id = hex(id_of(b"abc"));
        let ids: ArrayRef =
            Arc::new(StringArray::from(vec![Some(id.as_str()), Some(&id), None, Some(&id), None]));
        let originals = RecordBatch::try_from_iter([("bytes", bytes), ("image_id", ids)]);
        assert_eq!(damaged_rows("originals", &originals.unwrap()), [1, 3, 4]);
    }
}
