//! Files written anew, in the layout of their table. In: files, and what becomes of their rows.
//! Out: files that hold the rest of their rows in the same order, every value as it was, which
//! nobody sees until they are committed. Memory: a row group of the old file and one of the new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use deltalake::datafile::writer::DeltaWriter;
use deltalake::kernel::Add;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use tuwen_schemas::table;

use super::health::Health;
use super::store_file::OpenFile;
use crate::report::Progress;
use crate::snapshot::Snapshot;

/// A file, and what becomes of its rows: they stay unless they are named.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its path below the table's folder.
    pub(crate) path: String,
    /// The file.
    pub(crate) open: OpenFile,
    /// When its rows were written, in milliseconds since 1970.
    pub(crate) modified_ms: i64,
    /// Row groups that are left out.
    pub(crate) left_out: BTreeSet<usize>,
    /// Rows that are left out.
    pub(crate) dropped: BTreeSet<u64>,
    /// Rows that get another number in the identity column.
    pub(crate) renumbered: BTreeMap<u64, i64>,
}

impl Source {
    /// The file of `health` with all its rows that can be read and are not damaged; none if its
    /// footer cannot be read.
    pub(crate) fn of(health: &Health) -> Option<Self> {
        Some(Self {
            path: health.file.path.clone(),
            open: health.readable()?.clone(),
            modified_ms: health.file.modified_ms,
            left_out: health.unreadable.iter().map(|(group, _)| *group).collect(),
            dropped: health.damaged.clone(),
            renumbered: BTreeMap::new(),
        })
    }
}

/// Writes `sources` one after the other into new files of table `name`. Each new file has the
/// modification time of the newest source, so that files sort as their rows did.
///
/// # Errors
/// A row cannot be read, or the store cannot be written to. What was written by then belongs to
/// nothing; `tuwen vacuum` removes it.
pub(crate) async fn rewrite(
    snapshot: &Snapshot,
    name: &str,
    sources: &[Source],
    progress: &Progress,
) -> Result<Vec<Add>> {
    // The table's columns, those of other programs included.
    let schema: Schema = snapshot.delta(name).snapshot()?.schema().as_ref().try_into_arrow()?;
    let schema = Arc::new(schema);
    let mut writer = snapshot.writer(name, &schema)?;
    let written = async {
        for source in sources {
            write_source(&mut writer, name, source, &schema, progress).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let written = written.await.with_context(|| format!("writing files of table `{name}` anew"));
    if let Err(error) = written {
        // The error at hand says more than one of cleaning up.
        let _ = Box::pin(writer.abort()).await;
        return Err(error);
    }
    let modified_ms = sources.iter().map(|source| source.modified_ms).max().unwrap_or(0);
    let adds = Box::pin(writer.close()).await?;
    Ok(adds.into_iter().map(|add| Add { modification_time: modified_ms, ..add }).collect())
}

async fn write_source(
    writer: &mut DeltaWriter,
    name: &str,
    source: &Source,
    schema: &SchemaRef,
    progress: &Progress,
) -> Result<()> {
    for (group, rows) in source.open.groups().into_iter().enumerate() {
        if source.left_out.contains(&group) {
            continue;
        }
        let mut reader = source.open.read(group, name, None)?;
        let mut row = rows.start;
        loop {
            let batch = match reader.next().await? {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(why) => bail!("{why}\nhint: `tuwen repair` drops what cannot be read"),
            };
            let n_rows = batch.num_rows() as u64;
            let batch = fit(&batch, schema)?;
            let batch = renumber(batch, name, row, &source.renumbered)?;
            let batch = leave_out(batch, row, &source.dropped)?;
            Box::pin(writer.write(&batch)).await?;
            progress.add(n_rows);
            row += n_rows;
        }
    }
    Ok(())
}

/// `batch` with exactly the columns of `schema`: one that its file was written without is null.
fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        let Some(column) = batch.column_by_name(field.name()) else {
            return Ok(new_null_array(field.data_type(), batch.num_rows()));
        };
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        cast(column, field.data_type()).with_context(|| format!("column `{}`", field.name()))
    });
    let columns: Result<Vec<ArrayRef>> = columns.collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns?)?)
}

/// `batch`, whose first row is row `first` of its file, with new numbers in its identity column.
fn renumber(
    batch: RecordBatch,
    name: &str,
    first: u64,
    numbers: &BTreeMap<u64, i64>,
) -> Result<RecordBatch> {
    let rows = first..first + batch.num_rows() as u64;
    let Some(identity) = table(name).identity.as_deref() else { return Ok(batch) };
    if numbers.range(rows.clone()).next().is_none() {
        return Ok(batch);
    }
    let place = batch.schema().index_of(identity)?;
    let old = batch.column(place).as_primitive::<Int64Type>();
    let new = rows.zip(old.values()).map(|(row, old)| numbers.get(&row).unwrap_or(old));
    let mut columns = batch.columns().to_vec();
    columns[place] = Arc::new(Int64Array::from_iter_values(new.copied()));
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// `batch`, whose first row is row `first` of its file, without the rows of `dropped`.
fn leave_out(batch: RecordBatch, first: u64, dropped: &BTreeSet<u64>) -> Result<RecordBatch> {
    let rows = first..first + batch.num_rows() as u64;
    if dropped.range(rows.clone()).next().is_none() {
        return Ok(batch);
    }
    let stays: BooleanArray = rows.map(|row| Some(!dropped.contains(&row))).collect();
    Ok(filter_record_batch(&batch, &stays)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use tuwen_schemas::schema;

    use super::*;

    #[test]
    fn rows_go_and_get_numbers_by_their_place_in_the_file() {
        let schema = Arc::new(schema("originals").project(&[0, 1]).unwrap());
        let seq: ArrayRef = Arc::new(Int64Array::from(vec![4, 5, 5, 6]));
        let locator: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c", "d"]));
        let batch = RecordBatch::try_new(schema, vec![seq, locator]).unwrap();
        let numbers = BTreeMap::from([(1, -1), (12, 90), (14, -1)]);
        let batch = renumber(batch, "originals", 10, &numbers).unwrap();
        let batch = leave_out(batch, 10, &BTreeSet::from([3, 10, 13, 14])).unwrap();
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[5, 90]);
        assert_eq!(batch.column(1).as_string::<i32>().value(1), "c");
    }
}
