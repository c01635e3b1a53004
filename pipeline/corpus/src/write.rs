//! The first half of a write: rows to Parquet files in a table's layout. In: a frame. Out: the files, which nobody sees until
//! they are committed. A cluster's workers call this; its driver commits.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{DataFrame, Expr, ident, lit};
use deltalake::kernel::Add;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::operations::get_num_idx_cols_and_stats_columns;
use deltalake::operations::write::writer::{DeltaWriter, WriterConfig};
use futures::StreamExt;
use object_store::ObjectStoreExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tuwen_schemas::table;

use crate::layout;
use crate::snapshot::Snapshot;

/// Batches of one partition that wait for the writer.
const WAITING_BATCHES: usize = 2;

/// Parquet files that belong to no version of their table yet.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// One action a file.
    pub adds: Vec<Add>,
    /// Rows in all of them.
    pub n_rows: u64,
    /// Those that are not good, by reason (see [`Reasons`]).
    pub rejected: BTreeMap<String, u64>,
}

impl Snapshot {
    /// Writes the rows of `frame` as files of table `name`, which must be there: in the table's layout, checked against its
    /// columns, with the identity column numbered from `first_number` on. All partitions of the frame are computed at once; their
    /// batches go into one file, or several of the layout's size.
    ///
    /// # Errors
    /// The rows cannot be computed or written, or a value is null that must not be. What was written by then belongs to nothing;
    /// `tuwen vacuum` removes it.
    pub async fn write_files(
        &self,
        name: &str,
        frame: DataFrame,
        first_number: i64,
    ) -> Result<Files> {
        let clock = std::time::Instant::now();
        let contract = table(name);
        let delta = self.delta(name);
        let columns: Schema = delta.snapshot()?.schema().as_ref().try_into_arrow()?;
        // A table made before a column was is written without it.
        let fields: Vec<_> = contract
            .schema
            .fields()
            .iter()
            .filter_map(|field| columns.field_with_name(field.name()).ok().cloned())
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let selected: Vec<Expr> = schema
            .fields()
            .iter()
            .map(|field| match contract.identity.as_deref() {
                Some(identity) if identity == field.name() => lit(0_i64).alias(identity),
                _ => ident(field.name()),
            })
            .collect();
        let mut writer = self.writer(name, &schema)?;
        let identity = contract.identity.as_ref().map(|name| schema.index_of(name)).transpose()?;
        let streams = match identity {
            // Numbers follow the order of the rows, so they come one after the other.
            Some(_) => vec![frame.select(selected)?.execute_stream().await?],
            None => frame.select(selected)?.execute_stream_partitioned().await?,
        };
        let reasons = Reasons::of(name, &schema);
        let written =
            write_all(&mut writer, streams, &schema, identity, first_number, reasons).await;
        match written.with_context(|| format!("writing table `{name}`")) {
            Ok((n_rows, reasons)) => {
                let adds = Box::pin(writer.close())
                    .await
                    .with_context(|| format!("writing table `{name}`"))?;
                let seconds = clock.elapsed().as_secs_f64();
                tracing::debug!(
                    table = name,
                    n_rows,
                    seconds,
                    "{name}: {n_rows} rows written in {seconds:.2} s"
                );
                Ok(Files { adds, n_rows, rejected: reasons.counts })
            }
            Err(error) => {
                // The error at hand says more than one of cleaning up.
                let _ = Box::pin(writer.abort()).await;
                Err(error)
            }
        }
    }

    /// A writer of files of table `name` with the columns of `schema`, in the table's layout and with its statistics.
    pub(crate) fn writer(&self, name: &str, schema: &SchemaRef) -> Result<DeltaWriter> {
        let delta = self.delta(name);
        let (n_indexed, stats_columns) = get_num_idx_cols_and_stats_columns(
            Some(delta.snapshot()?.table_config()),
            HashMap::new(),
        );
        let config = WriterConfig::new(
            Arc::clone(schema),
            Vec::new(),
            Some(layout::of(name)),
            NonZeroU64::new(layout::target_file_bytes(name)),
            None,
            n_indexed,
            stats_columns.map(|columns| columns.iter().map(ToString::to_string).collect()),
        );
        Ok(DeltaWriter::new(delta.log_store().object_store(None), config))
    }

    /// Removes files from the store: they were written, and will not be committed.
    pub async fn discard(&self, name: &str, adds: &[Add]) {
        let store = self.delta(name).log_store().object_store(None);
        for add in adds {
            // One that stays is an orphan, which `tuwen vacuum` removes.
            let _ = store.delete(&object_store::path::Path::from(add.path.as_str())).await;
        }
    }
}

/// Runs all `streams` at once and writes their batches as they come; returns the number of rows.
async fn write_all(
    writer: &mut DeltaWriter,
    streams: Vec<SendableRecordBatchStream>,
    schema: &SchemaRef,
    identity: Option<usize>,
    first_number: i64,
    mut reasons: Reasons,
) -> Result<(u64, Reasons)> {
    let (sender, mut batches) = mpsc::channel(WAITING_BATCHES);
    let mut tasks = JoinSet::new();
    for mut stream in streams {
        let sender = sender.clone();
        tasks.spawn(async move {
            while let Some(batch) = stream.next().await {
                // A writer that failed hangs up; its error is the one to report.
                if sender.send(batch).await.is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    let mut n_rows = 0;
    while let Some(batch) = batches.recv().await {
        let batch = fit(&batch?, schema, identity, first_number + n_rows as i64)?;
        n_rows += batch.num_rows() as u64;
        reasons.count(&batch);
        Box::pin(writer.write(&batch)).await?;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task that computes rows panicked")?;
    }
    Ok((n_rows, reasons))
}

/// Counts why rows are not good, as they are written.
struct Reasons {
    column: Option<usize>,
    /// The value of a good row; null if there is none.
    good: Option<&'static str>,
    /// The reason, where the column holds a text about it.
    only: Option<&'static str>,
    counts: BTreeMap<String, u64>,
}

impl Reasons {
    fn of(table: &str, schema: &SchemaRef) -> Self {
        let (column, good, only) = match table {
            "pairs" => ("malformed", None, Some("malformed_line")),
            "originals" => ("outcome", Some("ok"), None),
            _ => ("reject_reason", None, None),
        };
        Self { column: schema.index_of(column).ok(), good, only, counts: BTreeMap::new() }
    }

    fn count(&mut self, batch: &RecordBatch) {
        let Some(column) = self.column else { return };
        for reason in batch.column(column).as_string::<i32>().iter().flatten() {
            if self.good == Some(reason) {
                continue;
            }
            let reason = self.only.unwrap_or(reason);
            match self.counts.get_mut(reason) {
                Some(count) => *count += 1,
                None => drop(self.counts.insert(reason.to_owned(), 1)),
            }
        }
    }
}

/// `batch` with exactly the columns of `schema`; fails on a null that must not be.
fn fit(
    batch: &RecordBatch,
    schema: &SchemaRef,
    identity: Option<usize>,
    first_number: i64,
) -> Result<RecordBatch> {
    let columns: Result<Vec<ArrayRef>> = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .enumerate()
        .map(|(i, (column, field))| {
            if identity == Some(i) {
                let end = first_number + batch.num_rows() as i64;
                return Ok(Arc::new(Int64Array::from_iter_values(first_number..end)) as ArrayRef);
            }
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            cast(column, field.data_type()).with_context(|| format!("column `{}`", field.name()))
        })
        .collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns?)?)
}
