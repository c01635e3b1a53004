//! A cluster as an engine. In: its scheduler's address, and plans. Out: their rows, computed by its executors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use ballista_core::config::{
    BALLISTA_ADAPTIVE_PLANNER_ENABLED, BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK,
};
use ballista_core::extension::SessionConfigHelperExt;
use ballista_core::serde::protobuf::{KeyValuePair, PartitionLocation};
use datafusion::common::JoinType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::{StreamExt, TryStreamExt};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::{Cancelled, Engine, Here, Parts, ShowParts, SinkExec, as_datafusion};
use tuwen_etl::fetch::AskExec;

use crate::client::Client;
use crate::codec::Codec;
use crate::job::Job;

/// How often a job is run during which executors are lost.
const TRIES: usize = 5;

/// How long a job that is on its way to the scheduler is waited for when it is to end: without its id it cannot be cancelled.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// A cluster.
#[derive(Debug)]
struct Cluster {
    client: Client,
    session_id: String,
    /// Plans that read less are computed here.
    least_bytes: u64,
    stop: Mutex<CancellationToken>,
    shown: Mutex<Shown>,
}

/// How far the jobs are that run, and where that is shown.
#[derive(Debug, Default)]
struct Shown {
    on: Option<Arc<dyn ShowParts>>,
    jobs: BTreeMap<String, Parts>,
}

impl Shown {
    /// Job `id` is so far; none if that is not known, or if it has ended.
    fn set(&mut self, id: &str, parts: Option<Parts>) {
        match parts {
            Some(parts) => self.jobs.insert(id.to_owned(), parts),
            None => self.jobs.remove(id),
        };
        let sum = |a: Parts, b: Parts| Parts {
            n_done: a.n_done + b.n_done,
            n_total: a.n_total + b.n_total,
        };
        if let Some(on) = &self.on {
            on.show_parts(self.jobs.values().copied().reduce(sum));
        }
    }
}

/// The cluster whose scheduler is at `address`.
pub(crate) fn connect(address: &str, least_bytes: u64) -> Result<Arc<dyn Engine>> {
    let (host, port) = split_address(address)?;
    Ok(Arc::new(Cluster {
        client: Client::new(host, port)?,
        session_id: uuid::Uuid::now_v7().to_string(),
        least_bytes,
        stop: Mutex::new(CancellationToken::new()),
        shown: Mutex::default(),
    }))
}

/// `HOST:PORT`.
pub(crate) fn split_address(address: &str) -> Result<(String, u16)> {
    let expected = || format!("cluster: expected HOST:PORT, found {address}");
    let (host, port) = address.rsplit_once(':').with_context(expected)?;
    let port = port.parse().with_context(expected)?;
    if host.is_empty() {
        bail!("{}", expected());
    }
    Ok((host.to_owned(), port))
}

/// Bytes of the files of a scan, of which columns may be left out.
fn file_bytes(node: &dyn ExecutionPlan) -> u64 {
    let scan = node.downcast_ref::<DataSourceExec>();
    let scan = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
    let files = scan.iter().flat_map(|scan| &scan.file_groups).flat_map(|group| group.files());
    let sizes = files.map(|file| match &file.range {
        Some(range) => u64::try_from(range.end - range.start).unwrap_or(0),
        None => file.object_meta.size,
    });
    sizes.sum()
}

/// Whether `plan` has stages whose rows go to another that is not the last (`losses.rs`). It may be said of one that has none.
fn has_inner_stages(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    const ENDS_OF_STAGES: [&str; 4] =
        ["RepartitionExec", "CoalescePartitionsExec", "SortPreservingMergeExec", "UnionExec"];
    let mut n_ends = 0;
    plan.apply(|node| {
        let join = node.downcast_ref::<HashJoinExec>();
        let collects =
            join.is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft);
        n_ends += usize::from(collects || ENDS_OF_STAGES.contains(&node.name()));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(n_ends > 1)
}

/// Whether `node` has to see all of its right side in one task, of which Ballista 55 gives each one a part: a join that says which rows of
/// its left side have no match. Hash joins it divides by their keys, but for `not in (select …)`.
fn is_indivisible(node: &dyn ExecutionPlan) -> bool {
    let by_right = |join: &NestedLoopJoinExec| {
        use JoinType::{Inner, Right, RightAnti, RightMark, RightSemi};
        matches!(join.join_type(), Inner | Right | RightSemi | RightAnti | RightMark)
    };
    node.downcast_ref::<HashJoinExec>().is_some_and(|join| join.null_aware)
        || node.downcast_ref::<NestedLoopJoinExec>().is_some_and(|join| !by_right(join))
}

/// A plan as a scheduler takes it.
struct Sent {
    plan: Vec<u8>,
    settings: Vec<KeyValuePair>,
    has_inner_stages: bool,
}

impl Cluster {
    /// `plan` as it is sent; none if it is computed here.
    fn encoded(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        context: &TaskContext,
    ) -> Result<Option<Sent>> {
        if !self.sends(plan)? {
            return Ok(None);
        }
        let mut settings = context.session_config().to_key_value_pairs();
        for (key, value) in [
            // A plan that is made already is not made anew while it runs.
            (BALLISTA_ADAPTIVE_PLANNER_ENABLED, "false"),
            (BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, "1"),
        ] {
            settings.push(KeyValuePair { key: key.to_owned(), value: Some(value.to_owned()) });
        }
        let mut bytes = Vec::new();
        let encoded = PhysicalPlanNode::try_from_physical_plan(Arc::clone(plan), &Codec::default())
            .and_then(|node| node.try_encode(&mut bytes));
        match encoded {
            // What a person asks of the log or of the catalog is known here alone.
            Err(error) if !plan.exists(|node| Ok(node.is::<SinkExec>()))? => {
                tracing::debug!("computed here, since it cannot be sent: {error}");
                return Ok(None);
            }
            encoded => encoded.context("a plan that a cluster cannot run")?,
        }
        let has_inner_stages = has_inner_stages(plan)?;
        Ok(Some(Sent { plan: bytes, settings, has_inner_stages }))
    }

    /// Runs a job until it ends; gives where its rows lie.
    async fn job(&self, sent: &Sent) -> Result<Vec<PartitionLocation>> {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if stop.is_cancelled() {
            return Err(Cancelled.into());
        }
        let too_late = async {
            stop.cancelled().await;
            sleep(ON_ITS_WAY).await;
        };
        let job = tokio::select! {
            job = self.submitted(sent) => job?,
            () = too_late => return Err(Cancelled.into()),
        };
        let id = job.id();
        tracing::debug!(job = id, "job {id}");
        let show = |parts| {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.set(id, parts);
        };
        let ended = tokio::select! {
            ended = self.client.wait(id, show) => ended,
            () = stop.cancelled() => Err(Cancelled.into()),
        };
        show(None);
        let ended = ended?;
        job.ended();
        ended
    }

    /// Hands in a job, in a task of its own: one that nobody waits for any more is cancelled as soon as it has an id.
    async fn submitted(&self, sent: &Sent) -> Result<Job> {
        let (client, session_id) = (self.client.clone(), self.session_id.clone());
        let (plan, settings) = (sent.plan.clone(), sent.settings.clone());
        let job = Job::new(&client);
        let submitted = tokio::spawn(async move {
            let id = client.submit(plan, settings, &session_id).await?;
            anyhow::Ok(job.began(id))
        });
        submitted.await.context("the task that hands in a job panicked")?
    }

    /// As [`Cluster::job`], anew if executors are lost during it that it fails by, or whose rows it may have twice.
    async fn sure_job(&self, sent: &Sent) -> Result<Vec<PartitionLocation>> {
        for _ in 0..TRIES {
            let n_lost = self.client.n_lost().await?;
            let ended = self.job(sent).await;
            let n_lost_since = match &ended {
                Ok(_) if sent.has_inner_stages => self.client.n_lost().await?,
                Err(error) if !error.is::<Cancelled>() => self.client.n_lost_now().await,
                _ => n_lost,
            };
            // Less, of a scheduler that was begun anew.
            if n_lost_since <= n_lost {
                return ended;
            }
            let why = ended.err().map(|error| format!(": {error:#}")).unwrap_or_default();
            tracing::warn!("a job is run again, since an executor was lost{why}");
        }
        bail!("each of {TRIES} tries of a job has lost executors")
    }

    /// The rows of what a job has left, as they are asked for.
    fn stream(
        &self,
        parts: Vec<PartitionLocation>,
        schema: SchemaRef,
    ) -> SendableRecordBatchStream {
        let client = self.client.clone();
        let rows = futures::stream::iter(parts).then(move |part| {
            let client = client.clone();
            async move { client.rows(part).await.map_err(as_datafusion) }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows.try_flatten()))
    }

    /// All rows of what a job has left.
    async fn rows(&self, parts: Vec<PartitionLocation>) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        for part in parts {
            batches.extend(self.client.rows(part).await?.try_collect::<Vec<_>>().await?);
        }
        Ok(batches)
    }
}

#[async_trait]
impl Engine for Cluster {
    fn is_cluster(&self) -> bool {
        true
    }

    /// One that asks hosts for pictures, or reads enough and can be divided.
    fn sends(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
        let (mut asks, mut is_divisible, mut n_bytes) = (false, true, 0);
        plan.apply(|node| {
            asks |= node.is::<AskExec>();
            is_divisible &= !is_indivisible(node.as_ref());
            n_bytes += file_bytes(node.as_ref());
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(asks || (n_bytes >= self.least_bytes && is_divisible))
    }

    async fn n_parts(&self) -> Result<usize> {
        self.client.cores().await
    }

    async fn configure(&self, config: &mut SessionConfig) -> Result<()> {
        let cores = self.n_parts().await?;
        let options = config.clone().ballista_restricted_configuration();
        let options = options.with_target_partitions(cores);
        let hashes = config.options().optimizer.prefer_hash_join;
        *config = options;
        // Partitions of a join are smaller than the whole, for which a session of ours chooses.
        config.options_mut().optimizer.prefer_hash_join = hashes;
        Ok(())
    }

    fn stop_with(&self, stop: &CancellationToken) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop.clone();
    }

    fn show_on(&self, shown: Arc<dyn ShowParts>) {
        let shown = Shown { on: Some(shown), ..Shown::default() };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let Some(sent) = self.encoded(&plan, &context)? else {
            return Here.run(plan, context).await;
        };
        let parts = self.sure_job(&sent).await?;
        Ok(self.stream(parts, plan.schema()))
    }

    async fn collect(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<Vec<RecordBatch>> {
        let Some(sent) = self.encoded(&plan, &context)? else {
            return Here.collect(plan, context).await;
        };
        for nth in 1.. {
            let parts = self.sure_job(&sent).await?;
            match self.rows(parts).await {
                Err(error) if nth < TRIES => {
                    tracing::warn!("a job is run again, since its rows are lost: {error:#}");
                }
                rows => return rows,
            }
        }
        unreachable!("the last try returns")
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn a_join_that_has_to_see_all_of_one_side_is_computed_here() {
        let cluster = connect("127.0.0.1:1", 0).unwrap();
        let (one, two) = ("(values (1), (2)) a(x)", "(values (1), (2), (3)) b(y)");
        for (query, expected) in [
            (format!("select * from {one} join {two} on x < y"), true),
            (format!("select * from {one} cross join {two}"), true),
            (format!("select * from {one} full join {two} on x = y"), true),
            (format!("select * from {one} full join {two} on x < y"), false),
        ] {
            let frame = SessionContext::new().sql(&query).await.unwrap();
            let plan = frame.create_physical_plan().await.unwrap();
            assert_eq!(cluster.sends(&plan).unwrap(), expected, "{query}");
        }
    }
}
