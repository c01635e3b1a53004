//! A plan that can be stopped. In: a physical plan. Out: the same, but that it gives way to its runtime, and fails once it is told to
//! stop. A join may work for hours on one batch, or send batch after batch to what takes them at once: what runs it could never end it.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Operator, ScalarUDF, Volatility, create_udf};
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

/// Operators that may make many batches of one.
const MULTIPLIERS: [&str; 6] = [
    "CrossJoinExec",
    "NestedLoopJoinExec",
    "HashJoinExec",
    "SortMergeJoinExec",
    "PiecewiseMergeJoinExec",
    "UnnestExec",
];

/// `plan`, which fails once `stop` is cancelled.
pub(crate) fn stoppable(
    plan: Arc<dyn ExecutionPlan>,
    stop: &CancellationToken,
) -> Result<Arc<dyn ExecutionPlan>> {
    let transformed = plan.transform_up(|node| {
        if !MULTIPLIERS.contains(&node.name()) {
            return Ok(Transformed::no(node));
        }
        let node = match node.downcast_ref::<NestedLoopJoinExec>() {
            Some(join) => asked(join, stop)?.unwrap_or(node),
            None => node,
        };
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>))
    });
    Ok(transformed?.data)
}

/// `join` with a filter that asks for each batch whether to stop; none without one: then it sends what it makes.
fn asked(
    join: &NestedLoopJoinExec,
    stop: &CancellationToken,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = join.filter() else { return Ok(None) };
    let goes_on = ScalarFunctionExpr::try_new(
        Arc::new(goes_on(stop.clone())),
        Vec::new(),
        filter.schema(),
        Arc::new(ConfigOptions::default()),
    )?;
    let goes_on: Arc<dyn PhysicalExpr> = Arc::new(goes_on);
    // What is true is asked for once a batch, and then only the filter's own side counts.
    let both = BinaryExpr::new(goes_on, Operator::And, Arc::clone(filter.expression()));
    let (columns, schema) = (filter.column_indices().to_vec(), Arc::clone(filter.schema()));
    let filter = JoinFilter::new(Arc::new(both), columns, schema);
    let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(filter)).build()?;
    Ok(Some(Arc::new(join)))
}

/// A function that is true, and an error once `stop` is cancelled.
fn goes_on(stop: CancellationToken) -> ScalarUDF {
    let answer = move |_: &[ColumnarValue]| match stop.is_cancelled() {
        false => Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))),
        true => Err(DataFusionError::Execution("the query was stopped".to_owned())),
    };
    create_udf("goes_on", Vec::new(), DataType::Boolean, Volatility::Volatile, Arc::new(answer))
}
