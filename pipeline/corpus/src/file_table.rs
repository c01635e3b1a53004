//! Data files of a Delta table as a table of plain Parquet files. In: a table at one version, which of its files. Out: a DataFusion
//! table whose scans are DataFusion's own of Parquet, which it knows how to optimise and to send to other machines.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::Session;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{
    DFSchema, Result as DataFusionResult, ScalarValue, Statistics, project_schema,
};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use deltalake::DeltaTable;
use object_store::ObjectMeta;
use url::Position;

use crate::plain_files::plain_files;

/// Data files of one version of a table.
pub(crate) struct FileTable {
    delta: DeltaTable,
    store: ObjectStoreUrl,
    columns: TableSchema,
    /// By their number in the log's data.
    files: Vec<(usize, PartitionedFile)>,
    n_rows: Precision<usize>,
}

impl FileTable {
    /// The files of `delta` that are called `paths`, or all, which messages call table `name`; with `file_column` a last column of
    /// that name says which file a row stands in.
    ///
    /// # Errors
    /// Deletion vectors, mapped column names, partitions, or files of another table.
    pub(crate) fn new(
        name: &str,
        delta: &DeltaTable,
        paths: Option<&BTreeSet<String>>,
        file_column: Option<&str>,
    ) -> Result<Self> {
        let label = format!("table `{name}`");
        let snapshot = delta.snapshot()?;
        if let Some(column) = snapshot.metadata().partition_columns().first() {
            bail!("{label}: expected no partitions, found one by column `{column}`");
        }
        let root = delta.log_store().root_url().clone();
        let folder = object_store::path::Path::from_url_path(root.path())?;
        let (mut files, mut n_rows) = (Vec::new(), Precision::Exact(0));
        for found in plain_files(&label, delta)? {
            if paths.is_some_and(|paths| !paths.contains(&found.path)) {
                continue;
            }
            let rows = found.n_rows.and_then(|n| usize::try_from(n).ok());
            n_rows = n_rows.add(&rows.map_or(Precision::Absent, Precision::Exact));
            let mut file = PartitionedFile::new_from_meta(ObjectMeta {
                location: folder.parts().chain(found.store_path.parts()).collect(),
                last_modified: DateTime::from_timestamp_millis(found.modified_ms)
                    .unwrap_or_default(),
                size: found.bytes,
                e_tag: None,
                version: None,
            });
            if file_column.is_some() {
                file.partition_values = vec![ScalarValue::from(found.path)];
            }
            files.push((found.number, file));
        }
        let file_column =
            file_column.map(|column| Arc::new(Field::new(column, DataType::Utf8, false)));
        let columns = TableSchema::builder(snapshot.snapshot().arrow_schema())
            .with_table_partition_cols(file_column.into_iter().collect::<Vec<FieldRef>>())
            .build();
        let store = ObjectStoreUrl::parse(&root[..Position::BeforePath])?;
        Ok(Self { delta: delta.clone(), store, columns, files, n_rows })
    }

    /// The files that may hold rows for which `filters` are true, as far as the log knows what they hold.
    fn kept(
        &self,
        state: &dyn Session,
        filters: &[Expr],
    ) -> DataFusionResult<Vec<PartitionedFile>> {
        let all = || self.files.iter().map(|(_, file)| file.clone()).collect();
        let columns = Arc::clone(self.columns.table_schema());
        // Of times a log may hold the milliseconds alone (Delta protocol, per-file statistics): a file's last could be later.
        let is_exact = |filter: &&Expr| {
            let is_time = |name: &str| {
                let field = columns.field_with_name(name);
                field.is_ok_and(|field| matches!(field.data_type(), DataType::Timestamp(..)))
            };
            !filter.column_refs().iter().any(|column| is_time(&column.name))
        };
        let exact = filters.iter().filter(is_exact).cloned();
        let Some(filter) = conjunction(exact) else { return Ok(all()) };
        let filter =
            state.create_physical_expr(filter, &DFSchema::try_from(Arc::clone(&columns))?)?;
        let snapshot = self.delta.snapshot().map_err(external)?;
        // A filter that says nothing of least and greatest values keeps all.
        let predicate = PruningPredicateBuilder::new().with_file_schema(columns).build(filter);
        let Some(predicate) = predicate else { return Ok(all()) };
        let kept = predicate.prune(&snapshot.log_data())?;
        let kept = self.files.iter().filter(|(number, _)| kept[*number]);
        Ok(kept.map(|(_, file)| file.clone()).collect())
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.columns.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(Statistics { num_rows: self.n_rows, ..Statistics::new_unknown(&self.schema()) })
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let files = self.kept(state, filters)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema(), projection)?)));
        }
        // The session may be another than the one that the table is registered with.
        self.delta.update_datafusion_session(state).map_err(external)?;
        let statistics = match files.len() == self.files.len() {
            true => self.statistics().unwrap_or_default(),
            false => Statistics::new_unknown(&self.schema()),
        };
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        // Not as `ParquetFormat` does: it caches footers with their page indexes, and that of pixels has an entry a picture.
        let source = ParquetSource::new(self.columns.clone()).with_table_parquet_options(options);
        let n_groups = match state.config_options().optimizer.repartition_file_scans {
            true => state.config().target_partitions(),
            false => 1,
        };
        let groups = FileGroup::new(files).split_files(n_groups);
        let scan = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}

impl fmt::Debug for FileTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileTable").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

fn external(error: deltalake::DeltaTableError) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::External(Box::new(error))
}
