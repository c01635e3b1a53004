//! The table `history`. In: a snapshot. Out: its commits as rows, which join `runs` by `run_id`.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::datasource::MemTable;
use tuwen_corpus::{CommitRow, Snapshot};

/// The commits of all tables.
pub(super) async fn history_table(snapshot: &Snapshot) -> Result<MemTable> {
    table_of(&snapshot.commits().await?)
}

/// A table of `rows`.
pub(super) fn table_of(rows: &[CommitRow]) -> Result<MemTable> {
    let text = |column: fn(&CommitRow) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(column).collect::<StringArray>())
    };
    let versions: Int64Array = rows.iter().map(|row| Some(row.version as i64)).collect();
    let times: TimestampMicrosecondArray = rows.iter().map(|row| row.committed_us).collect();
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("table_name", text(|row| Some(row.table)), false),
        ("version", Arc::new(versions), false),
        ("committed", Arc::new(times.with_timezone("UTC")), true),
        ("operation", text(|row| row.operation.as_deref()), true),
        ("stage", text(|row| row.stage.as_deref()), true),
        ("run_id", text(|row| row.run_id.as_deref()), true),
        ("tuwen_version", text(|row| row.tuwen_version.as_deref()), true),
    ])?;
    Ok(MemTable::try_new(batch.schema(), vec![vec![batch]])?)
}
