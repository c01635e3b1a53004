//! The files of a table, before anybody sees them. In: rows, and how the table has them. Out: Parquet files in its layout, checked against
//! its columns, each with what Delta's log is to say of it. Never commits, and never asks for the log: whoever writes is told.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::kernel::{Add, StructType};
use deltalake::operations::get_num_idx_cols_and_stats_columns;
use deltalake::operations::write::writer::{DeltaWriter, WriterConfig};
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tuwen_schemas::table;
use url::{Position, Url};

use crate::layout;

/// Batches that wait for the writer.
const WAITING_BATCHES: usize = 2;

/// Parquet files that belong to no version of their table yet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Files {
    /// One action a file.
    pub adds: Vec<Add>,
    /// Rows in all of them.
    pub n_rows: u64,
    /// Those that are not good, by reason (see [`Reasons`]).
    pub rejected: BTreeMap<String, u64>,
}

impl Files {
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.adds.extend(other.adds);
        self.n_rows += other.n_rows;
        for (reason, n) in other.rejected {
            *self.rejected.entry(reason).or_default() += n;
        }
        self
    }
}

/// How files of a table are written, for whoever writes them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableFiles {
    pub(crate) name: String,
    /// The URL of its folder.
    pub(crate) root: String,
    /// As the table has them.
    pub(crate) columns: StructType,
    /// As the table has it: it says of which columns there are statistics.
    pub(crate) configuration: BTreeMap<String, Option<String>>,
    /// Of the first row, where rows are numbered as they are written.
    pub(crate) first_number: Option<i64>,
}

impl TableFiles {
    /// A writer of files with the columns of `schema`, into the table's folder.
    pub(crate) fn writer(&self, schema: &SchemaRef, store: Arc<dyn ObjectStore>) -> DeltaWriter {
        let configuration = self.configuration.clone().into_iter().collect();
        let (n_indexed, stats_columns) = get_num_idx_cols_and_stats_columns(None, configuration);
        let config = WriterConfig::new(
            Arc::clone(schema),
            Vec::new(),
            Some(layout::of(&self.name)),
            NonZeroU64::new(layout::target_file_bytes(&self.name)),
            None,
            n_indexed,
            stats_columns,
        );
        DeltaWriter::new(store, config)
    }

    /// The table's folder.
    fn store(&self, context: &TaskContext) -> Result<Arc<dyn ObjectStore>> {
        let root = Url::parse(&self.root)?;
        let store = ObjectStoreUrl::parse(&root[..Position::BeforePath])?;
        let store = context.runtime_env().object_store(store)?;
        Ok(Arc::new(PrefixStore::new(store, Path::from_url_path(root.path())?)))
    }
}

impl TableFiles {
    /// Writes `rows`, which have columns of the table in its order.
    ///
    /// # Errors
    /// They cannot be computed or written, or a value is null that must not be; what was written by then is removed again.
    pub(crate) async fn write(
        &self,
        mut rows: SendableRecordBatchStream,
        context: &TaskContext,
    ) -> Result<Files> {
        let columns: Schema = (&self.columns).try_into_arrow()?;
        let given = rows.schema();
        let fields =
            given.fields().iter().map(|field| columns.field_with_name(field.name()).cloned());
        let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>, _>>()?));
        let identity = table(&self.name).identity.as_ref().filter(|_| self.first_number.is_some());
        let identity = identity.map(|name| schema.index_of(name)).transpose()?;
        let first_number = self.first_number.unwrap_or(0);
        let mut reasons = Reasons::of(&self.name, &schema);
        let mut writer = self.writer(&schema, self.store(context)?);
        let mut n_rows = 0;
        // Rows are computed while others are written.
        let (sender, mut batches) = mpsc::channel(WAITING_BATCHES);
        let mut computing = JoinSet::new();
        computing.spawn(async move {
            while let Some(batch) = rows.next().await {
                // A writer that failed hangs up; its error is the one to report.
                if sender.send(batch).await.is_err() {
                    break;
                }
            }
        });
        let written = async {
            while let Some(batch) = batches.recv().await {
                let batch = fit(&batch?, &schema, identity, first_number + n_rows as i64)?;
                n_rows += batch.num_rows() as u64;
                reasons.count(&batch);
                Box::pin(writer.write(&batch)).await?;
            }
            while let Some(ended) = computing.join_next().await {
                ended.context("a task that computes rows panicked")?;
            }
            anyhow::Ok(())
        };
        if let Err(error) = written.await {
            // The error at hand says more than one of cleaning up.
            let _ = Box::pin(writer.abort()).await;
            return Err(error);
        }
        let adds = Box::pin(writer.close()).await?;
        Ok(Files { adds, n_rows, rejected: reasons.counts })
    }
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
