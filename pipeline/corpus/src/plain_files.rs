//! The live data files of a Delta table, for readers that take rows from the files as they stand. In: a table at one version. Out: its
//! files. Refuses a table whose files alone do not say what its rows are.

use anyhow::{Result, bail, ensure};
use deltalake::DeltaTable;
use object_store::path::Path;

/// A live data file, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainFile {
    /// Below the table's folder, as the log names it once its percent signs are undone.
    pub path: String,
    /// The same as object stores name it.
    pub store_path: Path,
    /// Its size.
    pub bytes: u64,
    /// Its rows, if the log has statistics.
    pub n_rows: Option<u64>,
    /// When its rows were written, in milliseconds since 1970: the order of files.
    pub modified_ms: i64,
    /// Its place in the log's data.
    pub(crate) number: usize,
}

/// The live files of `delta`, which messages call `label`, oldest first (by the time in the log, then by path).
///
/// # Errors
/// Deletion vectors, mapped column names, or files of another table.
pub fn plain_files(label: &str, delta: &DeltaTable) -> Result<Vec<PlainFile>> {
    let snapshot = delta.snapshot()?;
    let mapping = snapshot.metadata().configuration().get("delta.columnMapping.mode");
    if let Some(mode) = mapping.filter(|mode| *mode != "none") {
        bail!(
            "{label}: expected columns under their own names, found column mapping mode `{mode}`"
        );
    }
    let mut files = Vec::new();
    for (number, view) in snapshot.log_data().iter().enumerate() {
        let path = view.path().into_owned();
        if view.deletion_vector_descriptor().is_some() {
            bail!(
                "{label}, file {path}: it has a deletion vector, and files are read whole\n\
                 hint: compact the table (`reorg … apply (purge)` in Spark)"
            );
        }
        ensure!(
            !path.starts_with('/') && !path.contains("://"),
            "{label}: expected files below the table's folder, found {path} (a shallow clone?)"
        );
        let Ok(bytes) = u64::try_from(view.size()) else {
            bail!("{label}, file {path}: its size in the log is {}", view.size())
        };
        files.push(PlainFile {
            store_path: view.object_store_path(),
            bytes,
            n_rows: view.num_records().map(|n| n as u64),
            modified_ms: view.modification_time(),
            number,
            path,
        });
    }
    files.sort_by(|a, b| (a.modified_ms, &a.path).cmp(&(b.modified_ms, &b.path)));
    Ok(files)
}
