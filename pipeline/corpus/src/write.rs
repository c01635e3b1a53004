//! The first half of a write: rows to Parquet files in a table's layout. In: a frame. Out: the files, which nobody sees until
//! they are committed. A cluster's workers call this; its driver commits.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::prelude::{DataFrame, Expr, ident, lit};
use deltalake::kernel::Add;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use deltalake::operations::write::writer::DeltaWriter;
use object_store::ObjectStoreExt;
use tuwen_schemas::table;
use url::Position;

use crate::engine::{Engine, Here, planned};
use crate::sink::{Sink, write, writing};
use crate::snapshot::Snapshot;
use crate::table_files::{Files, TableFiles};

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
        // Numbers follow the order of the rows, so they come one after the other.
        match table(name).identity {
            Some(_) => self.write_rows(name, frame, Some(first_number), &Here).await,
            None => self.write_rows(name, frame, None, self.engine()).await,
        }
    }

    /// As [`Snapshot::write_files`], by `engine`; without a first number rows bring their own, if the table numbers them.
    pub(crate) async fn write_rows(
        &self,
        name: &str,
        frame: DataFrame,
        first_number: Option<i64>,
        engine: &dyn Engine,
    ) -> Result<Files> {
        let clock = std::time::Instant::now();
        let contract = table(name);
        let schema = self.columns(name)?;
        let identity = contract.identity.as_deref().filter(|_| first_number.is_some());
        let selected: Vec<Expr> = schema
            .fields()
            .iter()
            .map(|field| match identity {
                Some(identity) if identity == field.name() => lit(0_i64).alias(identity),
                _ => ident(field.name()),
            })
            .collect();
        let (mut plan, context) = planned(engine, frame.select(selected)?).await?;
        let n_parts = plan.properties().output_partitioning().partition_count();
        if n_parts > 1 && !engine.sends(&plan)? {
            // One writer, so that what a chunk comes to is one file.
            plan = Arc::new(CoalescePartitionsExec::new(plan));
        }
        let files = self.table_files(name, first_number)?;
        self.register_store(name, &context)?;
        let plan = writing(plan, &Sink::Table(Box::new(files)))?;
        let parts = write::<Files>(engine, plan, context).await;
        let parts = parts.with_context(|| format!("writing table `{name}`"))?;
        let files = parts.into_iter().fold(Files::default(), Files::and);
        let (n_rows, seconds) = (files.n_rows, clock.elapsed().as_secs_f64());
        tracing::debug!(
            table = name,
            n_rows,
            seconds,
            "{name}: {n_rows} rows written in {seconds:.2} s"
        );
        Ok(files)
    }

    /// The columns that table `name` has of those that its contract names: one made before a column was is written without it.
    fn columns(&self, name: &str) -> Result<SchemaRef> {
        let columns: Schema = self.delta(name).snapshot()?.schema().as_ref().try_into_arrow()?;
        let fields = table(name).schema.fields().iter();
        let fields = fields.filter_map(|field| columns.field_with_name(field.name()).ok().cloned());
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    /// How files of table `name` are written.
    fn table_files(&self, name: &str, first_number: Option<i64>) -> Result<TableFiles> {
        let delta = self.delta(name);
        let state = delta.snapshot()?;
        let configuration = state.metadata().configuration().iter();
        Ok(TableFiles {
            name: name.to_owned(),
            root: delta.log_store().root_url().to_string(),
            columns: state.schema().as_ref().clone(),
            configuration: configuration
                .map(|(key, value)| (key.clone(), Some(value.clone())))
                .collect(),
            first_number,
        })
    }

    fn register_store(&self, name: &str, context: &TaskContext) -> Result<()> {
        let log = self.delta(name).log_store();
        let url = ObjectStoreUrl::parse(&log.root_url()[..Position::BeforePath])?;
        context.runtime_env().register_object_store(url.as_ref(), log.root_object_store(None));
        Ok(())
    }

    /// A writer of files of table `name` with the columns of `schema`, in the table's layout and with its statistics.
    pub(crate) fn writer(&self, name: &str, schema: &SchemaRef) -> Result<DeltaWriter> {
        let store = self.delta(name).log_store().object_store(None);
        Ok(self.table_files(name, None)?.writer(schema, store))
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
