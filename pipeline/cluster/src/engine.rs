//! A cluster as an engine. In: its scheduler's address, and plans. Out: their rows, computed by its executors.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use ballista_core::config::{
    BALLISTA_ADAPTIVE_PLANNER_ENABLED, BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK,
};
use ballista_core::extension::SessionConfigHelperExt;
use ballista_core::serde::protobuf::{KeyValuePair, PartitionLocation};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;
use tuwen_corpus::{Cancelled, Engine, Here, SinkExec};
use tuwen_etl::fetch::AskExec;

use crate::client::Client;
use crate::codec::Codec;

/// How often a job is run during which executors are lost.
const TRIES: usize = 5;

/// A cluster.
#[derive(Debug)]
struct Cluster {
    client: Client,
    session_id: String,
    /// Plans that read less are computed here.
    least_bytes: u64,
    stop: Mutex<CancellationToken>,
}

/// The cluster whose scheduler is at `address`.
pub(crate) fn connect(address: &str, least_bytes: u64) -> Result<Arc<dyn Engine>> {
    let (host, port) = split_address(address)?;
    Ok(Arc::new(Cluster {
        client: Client::new(host, port)?,
        session_id: uuid::Uuid::now_v7().to_string(),
        least_bytes,
        stop: Mutex::new(CancellationToken::new()),
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

/// Ends a job that nobody waits for any more.
struct Job<'a> {
    client: &'a Client,
    id: Option<String>,
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let client = self.client.clone();
        tokio::spawn(async move { client.cancel(id).await });
    }
}

impl Cluster {
    /// Runs the plan until it ends; gives where its rows lie.
    async fn job(&self, plan: &[u8], settings: &[KeyValuePair]) -> Result<Vec<PartitionLocation>> {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut job = Job { client: &self.client, id: None };
        let ended = async {
            let (plan, settings) = (plan.to_vec(), settings.to_vec());
            let id = self.client.submit(plan, settings, &self.session_id).await?;
            tracing::debug!(job = id, "job {id}");
            let ended = self.client.wait(job.id.insert(id)).await?;
            // What has ended is not to be cancelled, whichever way it did.
            job.id = None;
            ended
        };
        let ended = tokio::select! {
            ended = ended => Some(ended),
            () = stop.cancelled() => None,
        };
        match ended {
            Some(ended) => ended,
            None => {
                if let Some(id) = job.id.take() {
                    self.client.cancel(id).await;
                }
                Err(Cancelled.into())
            }
        }
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
            async move {
                let rows = client.rows(part).await;
                rows.map_err(|error| DataFusionError::External(error.into()))
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows.try_flatten()))
    }

    /// All rows of what a job has left.
    async fn collect(&self, parts: Vec<PartitionLocation>) -> Result<Vec<RecordBatch>> {
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

    /// One that asks hosts for pictures, or reads enough; but not `not in (select …)`, of which Ballista 55 gives rows too many.
    fn sends(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
        let (mut asks, mut is_null_aware, mut n_bytes) = (false, false, 0);
        plan.apply(|node| {
            asks |= node.is::<AskExec>();
            is_null_aware |=
                node.downcast_ref::<HashJoinExec>().is_some_and(|join| join.null_aware);
            n_bytes += file_bytes(node.as_ref());
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(asks || (n_bytes >= self.least_bytes && !is_null_aware))
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

    async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if !self.sends(&plan)? {
            return Here.run(plan, context).await;
        }
        let schema = plan.schema();
        // What is written is few rows, whose loss would lose files.
        let is_small = plan.is::<SinkExec>();
        let is_deep = has_inner_stages(&plan)?;
        let mut settings = context.session_config().to_key_value_pairs();
        for (key, value) in [
            // A plan that is made already is not made anew while it runs.
            (BALLISTA_ADAPTIVE_PLANNER_ENABLED, "false"),
            (BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, "1"),
        ] {
            settings.push(KeyValuePair { key: key.to_owned(), value: Some(value.to_owned()) });
        }
        let mut bytes = Vec::new();
        let encoded =
            PhysicalPlanNode::try_from_physical_plan(Arc::clone(&plan), &Codec::default())
                .and_then(|node| node.try_encode(&mut bytes));
        match encoded {
            // What a person asks of the log or of the catalog is known here alone.
            Err(error) if !is_small => {
                tracing::debug!("computed here, since it cannot be sent: {error}");
                return Here.run(plan, context).await;
            }
            encoded => encoded.context("a plan that a cluster cannot run")?,
        }
        for nth in 1.. {
            let n_lost = self.client.n_lost().await?;
            let parts = self.job(&bytes, &settings).await?;
            let is_sure = !is_deep || self.client.n_lost().await? == n_lost;
            if is_sure && !is_small {
                return Ok(self.stream(parts, schema));
            }
            let collected = match is_sure {
                true => self.collect(parts).await,
                false => Err(anyhow!("an executor was lost")),
            };
            match collected {
                Ok(batches) => {
                    let rows = futures::stream::iter(batches.into_iter().map(Ok));
                    return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)));
                }
                Err(error) if nth == TRIES => return Err(error),
                Err(error) => tracing::warn!("a job is run again: {error:#}"),
            }
        }
        unreachable!("the last try returns")
    }
}
