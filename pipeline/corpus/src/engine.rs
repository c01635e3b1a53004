//! What computes plans. In: a plan. Out: its rows. This process, unless a command was told of a cluster; both run the same plans, made
//! of operators and functions that either has.

use std::fmt;
use std::sync::{Arc, OnceLock};

use anyhow::{Result, bail};
use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{DataFrame, SessionConfig};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// How far what other machines compute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Those that have ended.
    pub n_done: u64,
    /// All of them.
    pub n_total: u64,
}

/// Who shows how far an engine is.
pub trait ShowParts: fmt::Debug + Send + Sync {
    /// Shows the parts of what runs; none if nothing does, or if it is not known.
    fn show_parts(&self, parts: Option<Parts>);
}

/// An engine.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync {
    /// Whether it computes on machines of its own: then what they hand each other lies in the corpus's store, and files that they write
    /// are as many as the parts of the plan.
    fn is_cluster(&self) -> bool;

    /// Whether `plan` is computed by other machines: not one that is too small for that.
    ///
    /// # Errors
    /// Never for a plan that can run.
    fn sends(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<bool>;

    /// How many parts of a plan write files of their own: as many as there are cores, or one where it is this process that writes.
    ///
    /// # Errors
    /// The engine cannot be reached.
    async fn n_parts(&self) -> Result<usize>;

    /// Sets what the plans of a session must keep to, so that this engine can run them.
    ///
    /// # Errors
    /// The engine cannot be reached.
    async fn configure(&self, config: &mut SessionConfig) -> Result<()>;

    /// Ends what runs, by [`Cancelled`], when `stop` is cancelled; one that ends with this process need not.
    fn stop_with(&self, stop: &CancellationToken);

    /// Shows how far what runs is on `shown` from now on; one whose functions count their rows themselves need not.
    fn show_on(&self, _shown: Arc<dyn ShowParts>) {}

    /// Runs `plan`, all its parts at once where it can. The rows come in the order of the parts, or, if it says of none, in any.
    ///
    /// # Errors
    /// The engine cannot be reached, or cannot run it; what the plan itself meets comes out of the stream.
    async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream>;

    /// All rows of `plan`, of which there are few. Those that an engine loses on their way it computes again.
    ///
    /// # Errors
    /// As [`Engine::run`], or what the plan itself meets.
    async fn collect(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<Vec<RecordBatch>> {
        Ok(self.run(plan, context).await?.try_collect().await?)
    }
}

/// The rows of `frame`, computed by `engine`.
///
/// # Errors
/// As [`planned`], or they cannot be computed.
pub async fn collect(engine: &dyn Engine, frame: DataFrame) -> Result<Vec<RecordBatch>> {
    let (plan, context) = planned(engine, frame).await?;
    engine.collect(plan, context).await
}

/// An error of ours on its way through DataFusion, below which an engine finds what it tries again: as it was made, not in anyhow's box.
pub fn as_datafusion(error: anyhow::Error) -> DataFusionError {
    match error.downcast::<DataFusionError>() {
        Ok(error) => error,
        Err(error) => {
            DataFusionError::External(error.reallocate_into_boxed_dyn_error_without_backtrace())
        }
    }
}

/// What was under way on a cluster was told to end.
#[derive(Debug)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the job was cancelled")
    }
}

impl std::error::Error for Cancelled {}

/// This process.
#[derive(Debug)]
pub struct Here;

#[async_trait]
impl Engine for Here {
    fn is_cluster(&self) -> bool {
        false
    }

    fn sends(&self, _plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
        Ok(false)
    }

    async fn n_parts(&self) -> Result<usize> {
        Ok(1)
    }

    async fn configure(&self, _config: &mut SessionConfig) -> Result<()> {
        Ok(())
    }

    fn stop_with(&self, _stop: &CancellationToken) {}

    async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        Ok(execute_stream(plan, context)?)
    }
}

/// The plan of `frame` for `engine`, and what it runs in.
///
/// # Errors
/// It cannot be planned, or the engine cannot be reached.
pub async fn planned(
    engine: &dyn Engine,
    frame: DataFrame,
) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
    let (mut state, logical) = frame.into_parts();
    let mut plan = state.create_physical_plan(&logical).await?;
    if engine.sends(&plan)? {
        engine.configure(state.config_mut()).await?;
        plan = state.create_physical_plan(&logical).await?;
    }
    Ok((plan, state.task_ctx()))
}

/// Makes an engine of the address of a cluster; plans that read fewer bytes than so many it leaves to this process, for which a job
/// would cost more than it brings.
pub type Connect = fn(&str, u64) -> Result<Arc<dyn Engine>>;

/// Of the program that can reach clusters; only one does, since what it takes for that takes long to compile.
static CONNECT: OnceLock<Connect> = OnceLock::new();

/// Says how a cluster is reached.
pub fn register_clusters(connect: Connect) {
    // Said once, by a program's main.
    let _ = CONNECT.set(connect);
}

/// The engine at `address`, for plans that read `least_bytes` or more; this process if there is no address.
///
/// # Errors
/// The cluster cannot be reached, or this program cannot reach any.
pub fn engine_at(address: &str, least_bytes: u64) -> Result<Arc<dyn Engine>> {
    if address.is_empty() {
        return Ok(Arc::new(Here));
    }
    match CONNECT.get() {
        Some(connect) => connect(address, least_bytes),
        None => bail!(
            "cluster {address}: this program computes on its own machine alone\n\
             hint: the command `tuwen-cluster` reaches clusters"
        ),
    }
}
