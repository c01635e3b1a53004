//! Rows that are others now. In: changed rows, each with the file in which it stood, and the SQL that puts them in their places. Out:
//! files that hold what stood in those files, changed, and the removal of those: one commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::AsArray;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionContext, col};
use tuwen_corpus::query::frame;
use tuwen_corpus::{Change, Snapshot};
use tuwen_schemas::schema;

/// The column that says which file a row stands in; null in a new one.
pub(crate) const FILE_COLUMN: &str = "file";

/// Writes the rows that `sql` selects from `rewritten_files`, the rows of the files in which those of `changed` stood, and from
/// `changed`.
///
/// # Errors
/// The rows cannot be computed or written.
pub(crate) async fn replace(
    snapshot: &Snapshot,
    ctx: &SessionContext,
    table: &str,
    changed: &str,
    (name, sql): (&str, &str),
) -> Result<Change> {
    let leaving = files_of(ctx, changed).await?;
    let empty = leaving.is_empty();
    let stood = match empty {
        true => Arc::new(MemTable::try_new(schema(table), vec![Vec::new()])?) as Arc<_>,
        false => snapshot.table_of_files(table, Some(&leaving), None)?,
    };
    ctx.deregister_table("rewritten_files")?;
    ctx.register_table("rewritten_files", stood)?;
    let rows = frame(ctx, name, sql, []).await?;
    let files = snapshot.write_files(table, rows, 0).await?;
    let removes = if empty { Vec::new() } else { snapshot.removes(table, Some(&leaving))? };
    Ok(Change { adds: files.adds, removes, ..Change::default() })
}

/// The files in which the rows of `changed` stand.
async fn files_of(ctx: &SessionContext, changed: &str) -> Result<BTreeSet<String>> {
    let files = ctx.table(changed).await?.select(vec![col(FILE_COLUMN)])?.distinct()?;
    let mut paths = BTreeSet::new();
    for batch in files.collect().await? {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
        paths.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(paths)
}
