//! Attempts as a table, whose scan makes them. In: what is to be asked for, with its shards. Out: a plan that asks, for which
//! the rows of a shard come together.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{Result, project_schema};
use datafusion::datasource::{TableProvider, TableType};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use tuwen_schemas::schema;

use crate::fetch::ask_exec::{AskExec, AskPlan};

/// What asking for `todo` gives.
pub(super) struct AskTable {
    pub(super) todo: LogicalPlan,
    pub(super) plan: AskPlan,
}

impl fmt::Debug for AskTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskTable").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for AskTable {
    fn schema(&self) -> SchemaRef {
        schema("originals")
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let todo = state.create_physical_plan(&self.todo).await?;
        let n_parts = state.config().target_partitions();
        let byte_budget = self.plan.byte_budget.div_ceil(n_parts as u64);
        let asked = Arc::new(AskExec::new(todo, AskPlan { byte_budget, ..self.plan.clone() }));
        let Some(projection) = projection else { return Ok(asked) };
        let projected = project_schema(&self.schema(), Some(projection))?;
        let columns = projected.fields().iter().map(|field| {
            let column = col(field.name(), &self.schema())?;
            Ok((column, field.name().clone()))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(ProjectionExec::try_new(columns, asked)?))
    }
}
