//! `AskExec`, which asks as an operator of a plan. In: rows of what is to be asked for, all of one host in one part. Out: rows of
//! `originals`, numbered. Each part is a crawl of its own, wherever it runs: what a host is spared, it is spared by the one part that has
//! it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use chrono::{DateTime, Utc};
use datafusion::common::Result as DataFusionResult;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, PhysicalExpr,
    PhysicalSortRequirement,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning,
    PlanProperties,
};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::as_datafusion;
use tuwen_schemas::schema;
use tuwen_settings::FetchSettings;
use url::{Position, Url};

use crate::fetch::attempt::{Attempt, to_batch};
use crate::fetch::crawl::{Crawl, Crawled};
use crate::fetch::getter::Getter;
use crate::fetch::last_attempts::Answered;
use crate::fetch::origin::Origin;
use crate::fetch::outage::{NoAnswer, Outage};
use crate::fetch::todo::asks;

/// The column of a row's shard, in hexadecimal digits: rows of one host have one, and rows of one shard are in one part.
pub(super) const SHARD: &str = "shard";

/// The column that says in which order rows are asked for.
const PLACE: &str = "place";

/// Hexadecimal digits of a shard.
pub(super) const SHARD_DIGITS: usize = 4;

/// Bytes of files in one batch.
const BATCH_BYTES: u64 = 8 << 20;

/// Attempts in one batch, however small they are.
const BATCH_ATTEMPTS: usize = 1024;

/// How often a part looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A driver that has said nothing for so long is dead.
const DEAD_AFTER: Duration = Duration::from_secs(90);

/// What the parts are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AskPlan {
    pub(super) origin: Origin,
    pub(super) settings: FetchSettings,
    /// The last locators whose hosts answered.
    pub(super) answered: Vec<String>,
    /// Hosts that said that they want to be left alone, and until when, in microseconds since 1970.
    pub(super) left_alone: Vec<(String, i64)>,
    /// Whether the wave has so many hosts that not all of them are down of themselves.
    pub(super) is_part: bool,
    /// Where the numbers begin; each shard has as many for itself as there are rows in all.
    pub(super) first_number: i64,
    pub(super) n_rows: u64,
    /// Bytes that a part may bring; 0: no limit.
    pub(super) byte_budget: u64,
    /// The file that lets the wave go on: it goes when the driver is told to stop, and when it ends; while it lives it writes it anew.
    pub(super) go_file: String,
}

/// Asks for each part of its input.
#[derive(Debug)]
pub struct AskExec {
    input: Arc<dyn ExecutionPlan>,
    plan: AskPlan,
    properties: Arc<PlanProperties>,
}

impl AskExec {
    /// Asks for the rows of `input`, as `plan` has it.
    pub fn new(input: Arc<dyn ExecutionPlan>, plan: AskPlan) -> Self {
        let n_parts = input.properties().output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema("originals")),
            Partitioning::UnknownPartitioning(n_parts),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, plan, properties: Arc::new(properties) }
    }

    /// What its parts are told.
    pub fn plan(&self) -> &AskPlan {
        &self.plan
    }
}

impl DisplayAs for AskExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AskExec: rows={}", self.plan.n_rows)
    }
}

impl ExecutionPlan for AskExec {
    fn name(&self) -> &'static str {
        "AskExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let shard = col(SHARD, &self.input.schema()).map(|shard| vec![shard]);
        InputDistributionRequirements::new(vec![match shard {
            Ok(shard) => Distribution::KeyPartitioned(shard),
            // Rows without one are refused when they are read.
            Err(_) => Distribution::SinglePartition,
        }])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let place = col(PLACE, &self.input.schema()).ok();
        let order = place
            .and_then(|place| LexRequirement::new([PhysicalSortRequirement::new(place, None)]));
        vec![order.map(OrderingRequirements::from)]
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
        Ok(Arc::new(Self::new(children.swap_remove(0), self.plan.clone())))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        // Two batches wait, while the next is asked for.
        let (sender, receiver) = mpsc::channel(1);
        let plan = self.plan.clone();
        let task = SpawnedTask::spawn(async move {
            if let Err(error) = plan.ask(rows, context, &sender).await {
                let _ = sender.send(Err(as_datafusion(error))).await;
            }
        });
        // A crawl whose rows nobody wants any more ends with its task.
        let batches = futures::stream::unfold(Some((receiver, task)), async |asked| {
            let (mut receiver, task) = asked?;
            if let Some(batch) = receiver.recv().await {
                return Some((batch, Some((receiver, task))));
            }
            // A bug, which must not look like an end.
            let panicked = task.await.err()?;
            Some((Err(DataFusionError::External(Box::new(panicked))), None))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// What a part knows of its driver, which is what a file says.
struct Driver {
    store: Arc<dyn ObjectStore>,
    file: Path,
    /// When the file was written last, by the store's clock.
    said_at: Option<DateTime<Utc>>,
    /// When that was seen, by this machine's.
    heard: Instant,
}

impl Driver {
    fn new(go_file: &str, context: &TaskContext) -> Result<Self> {
        let url = Url::parse(go_file)?;
        let store = ObjectStoreUrl::parse(&url[..Position::BeforePath])?;
        Ok(Self {
            store: context.runtime_env().object_store(store)?,
            file: Path::from_url_path(url.path())?,
            said_at: None,
            heard: Instant::now(),
        })
    }

    /// Whether it wants no more: the file is gone, or has been as it is for long.
    async fn is_gone(&mut self) -> bool {
        match self.store.head(&self.file).await {
            Ok(file) if self.said_at == Some(file.last_modified) => {
                self.heard.elapsed() > DEAD_AFTER
            }
            Ok(file) => {
                self.said_at = Some(file.last_modified);
                self.heard = Instant::now();
                false
            }
            // A store that does not answer says nothing.
            Err(error) => matches!(error, object_store::Error::NotFound { .. }),
        }
    }
}

impl AskPlan {
    /// Asks for `rows` until there are no more, or the wave ends: what was not asked for by then is asked for by a later one.
    async fn ask(
        &self,
        rows: SendableRecordBatchStream,
        context: Arc<TaskContext>,
        sender: &mpsc::Sender<DataFusionResult<RecordBatch>>,
    ) -> Result<()> {
        let (rows, number) = self.first_number(rows).await?;
        let Some(mut number) = number else { return Ok(()) };
        let stop = CancellationToken::new();
        let settings = FetchSettings {
            byte_budget: self.byte_budget,
            // A host that wants to be left alone for longer is a later wave's.
            longest_wait_secs: self.settings.longest_wait_secs.min(self.settings.wave_secs),
            ..self.settings.clone()
        };
        let from_files = matches!(self.origin, Origin::Folder(_));
        let (outage, mut driver) =
            (Outage::new(self.is_part), Driver::new(&self.go_file, &context)?);
        // An executor computes about as many parts at once.
        let n_crawls = std::thread::available_parallelism().map_or(1, usize::from);
        let getter = self.getter()?;
        let mut crawl = Crawl::new(getter, &settings, from_files, outage, n_crawls, stop.clone());
        crawl.leave_alone(&self.left_alone);
        crawl.begin(asks(rows));
        let wave_ends = Instant::now() + Duration::from_secs(settings.wave_secs);
        let mut until = Some(wave_ends.min(Instant::now() + LOOK_EVERY));
        let (mut waiting, mut n_bytes) = (Vec::new(), 0);
        loop {
            let next = crawl.next(until, Answered::Told(&self.answered)).await?;
            let ended = match next {
                Crawled::Attempt(attempt) => {
                    n_bytes += attempt.bytes_len();
                    waiting.push(*attempt);
                    false
                }
                Crawled::Nothing => false,
                Crawled::Ended => true,
            };
            // Attempts may always be there to be taken, if they come faster than they are written.
            if until.is_some_and(|until| until <= Instant::now()) {
                let is_over = Instant::now() >= wave_ends || driver.is_gone().await;
                until = (!is_over).then(|| wave_ends.min(Instant::now() + LOOK_EVERY));
                if is_over {
                    stop.cancel();
                }
            }
            if ended || n_bytes >= BATCH_BYTES || waiting.len() >= BATCH_ATTEMPTS {
                if !waiting.is_empty() {
                    let batch = numbered(&waiting, &mut number)?;
                    // Who does not take it has ended.
                    if sender.send(Ok(batch)).await.is_err() {
                        return Ok(());
                    }
                }
                waiting.clear();
                n_bytes = 0;
            }
            if ended {
                break;
            }
        }
        match crawl.failure() {
            // Another part may have hosts that answer. A wave in which none has ends the run.
            Some(error) if error.is::<NoAnswer>() => tracing::warn!("{error:#}"),
            Some(error) => return Err(error),
            None => {}
        }
        Ok(())
    }

    /// The rows again, and the first number of the shard of the first of them, which no other part has; none if there are no rows.
    async fn first_number(
        &self,
        rows: SendableRecordBatchStream,
    ) -> Result<(SendableRecordBatchStream, Option<i64>)> {
        let schema = rows.schema();
        let mut rows = rows.try_filter(|batch| std::future::ready(batch.num_rows() > 0)).boxed();
        let first = rows.try_next().await?;
        let number = match &first {
            Some(batch) => {
                let shards =
                    batch.column_by_name(SHARD).context("what is to be asked for has a shard")?;
                let shard = i64::from_str_radix(shards.as_string::<i32>().value(0), 16)?;
                Some(self.first_number + shard * i64::try_from(self.n_rows)?)
            }
            None => None,
        };
        let rows = futures::stream::iter(first.map(Ok)).chain(rows);
        Ok((Box::pin(RecordBatchStreamAdapter::new(schema, rows)), number))
    }

    /// One for a process, so that its parts share connections, what they know of names and robots.txt, and the memory for bodies.
    fn getter(&self) -> Result<Arc<Getter>> {
        static LAST: Mutex<Option<(String, Arc<Getter>)>> = Mutex::new(None);
        let told = serde_json::to_string(&(&self.origin, &self.settings))?;
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, getter)) = last.as_ref()
            && *known == told
        {
            return Ok(Arc::clone(getter));
        }
        let getter = Getter::new(self.origin.clone(), &self.settings);
        let getter = Arc::new(getter.with_context(|| {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            format!("executor on {}", name.trim())
        })?);
        *last = Some((told, Arc::clone(&getter)));
        Ok(getter)
    }
}

/// `attempts` as rows that are numbered from `number` on.
fn numbered(attempts: &[Attempt], number: &mut i64) -> Result<RecordBatch> {
    let batch = to_batch(attempts)?;
    let end = *number + batch.num_rows() as i64;
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns[0] = Arc::new(Int64Array::from_iter_values(*number..end));
    *number = end;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_driver_is_gone_when_its_file_is_or_is_never_written_anew() {
        let (store, file) = (Arc::new(InMemory::new()), Path::from("go"));
        let renew = || store.put(&file, Vec::new().into());
        let mut driver = Driver {
            store: Arc::clone(&store) as Arc<dyn ObjectStore>,
            file: file.clone(),
            said_at: None,
            heard: Instant::now(),
        };
        let long_ago = Instant::now().checked_sub(2 * DEAD_AFTER).unwrap();
        renew().await.unwrap();
        assert!(!driver.is_gone().await && !driver.is_gone().await);
        driver.heard = long_ago;
        assert!(driver.is_gone().await);
        renew().await.unwrap();
        assert!(!driver.is_gone().await);
        store.delete(&file).await.unwrap();
        assert!(driver.is_gone().await);
    }
}
