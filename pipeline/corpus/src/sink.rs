//! Where the rows of a plan go: files, one or more for each of its parts. In: a plan, and what the files are to be. Out: the plan with an
//! operator that writes on top, or on each branch of a union, and gives a row a file. It is an operator so that it can run on other
//! machines: what it writes for can be sent there as JSON.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::FutureExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, as_datafusion};
use crate::scratch_file::ScratchFolder;
use crate::table_files::TableFiles;

/// The column of the rows that come out: JSON.
const WRITTEN: &str = "written";

/// What files are written as.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sink {
    /// Scratch tables.
    Scratch(ScratchFolder),
    /// Files of a table, which are not committed yet.
    Table(Box<TableFiles>),
}

/// Writes each part of its input; gives a row a part.
#[derive(Debug)]
pub struct SinkExec {
    input: Arc<dyn ExecutionPlan>,
    sink: Sink,
    properties: Arc<PlanProperties>,
}

impl SinkExec {
    /// Writes the rows of `input` to `sink`.
    pub fn new(input: Arc<dyn ExecutionPlan>, sink: Sink) -> Self {
        let field = Field::new(WRITTEN, DataType::Utf8, false);
        let schema: SchemaRef = Arc::new(Schema::new(vec![field]));
        let n_parts = input.properties().output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            datafusion::physical_plan::Partitioning::UnknownPartitioning(n_parts),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, sink, properties: Arc::new(properties) }
    }

    /// What it writes to.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }
}

impl DisplayAs for SinkExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sink {
            Sink::Scratch(folder) => write!(f, "SinkExec: scratch={}", folder.url),
            Sink::Table(files) => write!(f, "SinkExec: table={}", files.name),
        }
    }
}

impl ExecutionPlan for SinkExec {
    fn name(&self) -> &'static str {
        "SinkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(children.swap_remove(0), self.sink.clone())))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        let (sink, schema) = (self.sink.clone(), self.schema());
        let made = Arc::clone(&schema);
        let written = async move {
            let json = match &sink {
                Sink::Scratch(folder) => folder.write(rows, &context).await.and_then(json_of),
                Sink::Table(files) => Box::pin(files.write(rows, &context)).await.and_then(json_of),
            };
            let column = StringArray::from(vec![json.map_err(as_datafusion)?]);
            Ok(RecordBatch::try_new(made, vec![Arc::new(column)])?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(written))))
    }
}

/// `plan` with what writes its rows to `sink` on top. Of a union each branch writes its own: on a cluster its rows would go to the disk once
/// more before another task wrote them, pixels too.
///
/// # Errors
/// Never for branches of one schema, which they have.
pub(crate) fn writing(plan: Arc<dyn ExecutionPlan>, sink: &Sink) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(union) = plan.downcast_ref::<UnionExec>() else {
        return Ok(Arc::new(SinkExec::new(plan, sink.clone())));
    };
    let branches = union.inputs().iter().map(|branch| writing(Arc::clone(branch), sink));
    Ok(UnionExec::try_new(branches.collect::<Result<_>>()?)?)
}

fn json_of(written: impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(&written)?)
}

/// Runs `plan`, which is one that writes, by `engine`; what each part has written.
///
/// # Errors
/// They cannot be computed or written, or what computes them panics.
pub(crate) async fn write<T: DeserializeOwned>(
    engine: &dyn Engine,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> Result<Vec<T>> {
    let written = async {
        let mut parts = Vec::new();
        for batch in &engine.collect(plan, context).await? {
            for json in batch.column(0).as_string::<i32>().iter().flatten() {
                parts.push(serde_json::from_str(json).context("what a part has written")?);
            }
        }
        Ok(parts)
    };
    let written = AssertUnwindSafe(written).catch_unwind().await;
    written.unwrap_or_else(|_panic| bail!("a task that computes rows panicked"))
}
