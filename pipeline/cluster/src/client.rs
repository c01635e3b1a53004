//! What a driver says to a scheduler. In: a plan as bytes. Out: a job, its end, its rows. A scheduler that does not answer is asked again
//! for a while: what is lost on the way is not the job.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use ballista_core::client::BallistaClient;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, ExecuteQueryParams, GetJobStatusParams, KeyValuePair, PartitionLocation,
    execute_query_result, job_status,
};
use ballista_core::version::insert_version_header;
use datafusion::execution::SendableRecordBatchStream;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tuwen_corpus::Parts;

use crate::MAX_MESSAGE_BYTES;
use crate::failure::told;
use crate::parts::Jobs;
use crate::scheduler::Executors;

/// How long a scheduler may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// How long it may take until a scheduler knows a job that it has taken; one that was begun anew knows none.
const UNKNOWN: Duration = Duration::from_secs(10);

/// How long it may take to tell a scheduler of a job that nobody waits for any more.
pub(crate) const LAST_WORD: Duration = Duration::from_secs(5);

/// Between two questions how a job is: at least, and at most. It is this part of the time that the job has taken.
const SHORTEST_WAIT: Duration = Duration::from_millis(3);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
const WAITED_PART: u32 = 8;

/// Between two questions how far a job is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether a question did not leave this machine.
fn is_unreached(status: &tonic::Status) -> bool {
    let first = status.source();
    let mut causes = std::iter::successors(first, |&cause| cause.source());
    causes.any(|cause| {
        let error = cause.downcast_ref::<std::io::Error>();
        cause.is::<tonic::ConnectError>()
            || error.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
}

/// A scheduler, as a driver sees it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    host: String,
    port: u16,
    channel: Channel,
    http: reqwest::Client,
}

impl Client {
    /// The scheduler at `host`, which is not asked anything yet.
    pub(crate) fn new(host: String, port: u16) -> Result<Self> {
        let endpoint = Endpoint::new(format!("http://{host}:{port}"))?
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(60))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(20));
        // A proxy is for the network outside.
        let http =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { host, port, channel: endpoint.connect_lazy(), http })
    }

    fn scheduler(&self) -> SchedulerGrpcClient<Channel> {
        SchedulerGrpcClient::new(self.channel.clone())
            .max_encoding_message_size(MAX_MESSAGE_BYTES as usize)
            .max_decoding_message_size(MAX_MESSAGE_BYTES as usize)
    }

    fn silent(&self, why: &tonic::Status) -> anyhow::Error {
        anyhow!(
            "cluster {}:{}: expected a scheduler that answers, found {} ({})",
            self.host,
            self.port,
            why.code(),
            why.message()
        )
    }

    async fn ask<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        let url = format!("http://{}:{}/{what}", self.host, self.port);
        let answer = self.http.get(&url).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// What the scheduler says of its executors, once it answers.
    async fn executors(&self) -> Result<Executors> {
        let until = Instant::now() + SILENCE;
        loop {
            match self.ask::<Executors>("executors").await {
                Err(_) if Instant::now() < until => sleep(LONGEST_WAIT).await,
                said => {
                    return said.with_context(|| format!("cluster {}:{}", self.host, self.port));
                }
            }
        }
    }

    /// How many executors the scheduler has lost.
    pub(crate) async fn n_lost(&self) -> Result<u64> {
        Ok(self.executors().await?.n_lost)
    }

    /// The same, if the scheduler answers at once; 0 otherwise.
    pub(crate) async fn n_lost_now(&self) -> u64 {
        self.ask::<Executors>("executors").await.map_or(0, |said| said.n_lost)
    }

    /// Cores of all executors that are there; waits for a first one.
    pub(crate) async fn cores(&self) -> Result<usize> {
        let until = Instant::now() + SILENCE;
        loop {
            let found = self.executors().await?.executors;
            let n: usize = found.iter().map(|executor| executor.vcores as usize).sum();
            if n > 0 {
                return Ok(n);
            }
            if Instant::now() > until {
                bail!(
                    "cluster {}:{}: expected executors, found none\nhint: tuwen-cluster executor --scheduler {}:{}",
                    self.host,
                    self.port,
                    self.host,
                    self.port
                );
            }
            sleep(LONGEST_WAIT).await;
        }
    }

    /// How far job `id` is, if the scheduler says so at once.
    async fn parts(&self, id: &str) -> Option<Parts> {
        let parts = *self.ask::<Jobs>("jobs").await.ok()?.get(id)?;
        tracing::debug!("job {id}: {} of {} parts", parts.n_done, parts.n_total);
        Some(parts)
    }

    /// Hands in a plan; gives the job's id.
    pub(crate) async fn submit(
        &self,
        plan: Vec<u8>,
        settings: Vec<KeyValuePair>,
        session_id: &str,
    ) -> Result<String> {
        let query = ExecuteQueryParams {
            query: Some(Query::PhysicalPlan(plan)),
            settings,
            session_id: session_id.to_owned(),
            operation_id: uuid::Uuid::now_v7().to_string(),
        };
        let until = Instant::now() + SILENCE;
        let answer = loop {
            let mut request = tonic::Request::new(query.clone());
            insert_version_header(request.metadata_mut());
            match self.scheduler().execute_query(request).await {
                Ok(answer) => break answer.into_inner(),
                // It was not reached, so it has no job; a connection that broke may have brought it one.
                Err(status) if is_unreached(&status) && Instant::now() < until => {
                    sleep(LONGEST_WAIT).await;
                }
                Err(status) => return Err(self.silent(&status)),
            }
        };
        match answer.result {
            Some(execute_query_result::Result::Success(success)) => Ok(success.job_id),
            Some(execute_query_result::Result::Failure(failure)) => {
                bail!("the cluster refused a plan: {}", told(&format!("{failure:?}")))
            }
            None => bail!("the cluster gave no answer to a plan"),
        }
    }

    /// Waits until job `id` ends, and shows meanwhile how far it is; gives where its rows lie, the last try of each part, or why it failed.
    ///
    /// # Errors
    /// The scheduler does not answer, or does not know the job: it may be under way.
    pub(crate) async fn wait(
        &self,
        id: &str,
        show: impl Fn(Option<Parts>),
    ) -> Result<Result<Vec<PartitionLocation>>> {
        let began = Instant::now();
        let (mut heard, mut known, mut looked) = (began, began, began);
        loop {
            let params = GetJobStatusParams { job_id: id.to_owned() };
            match self.scheduler().get_job_status(params).await {
                Ok(answer) => {
                    heard = Instant::now();
                    match answer.into_inner().status.and_then(|status| status.status) {
                        Some(job_status::Status::Successful(job)) => {
                            // Of a part that was computed again both are there, in the order of their ends.
                            let part = |rows: &PartitionLocation| {
                                rows.partition_id.as_ref().map(|id| id.partition_id)
                            };
                            let rows = job.partition_location.into_iter();
                            let last: BTreeMap<_, _> =
                                rows.map(|rows| (part(&rows), rows)).collect();
                            let whole = (0..).take(last.len()).map(Some);
                            ensure!(
                                last.keys().copied().eq(whole),
                                "a job has left parts {:?}",
                                last.keys()
                            );
                            return Ok(Ok(last.into_values().collect()));
                        }
                        Some(job_status::Status::Failed(job)) => {
                            return Ok(Err(anyhow!("{}", told(&job.error))));
                        }
                        Some(_) => {
                            known = Instant::now();
                            if looked.elapsed() >= LOOK_EVERY {
                                // One that takes long to say so must not hide that the job has ended.
                                let parts = timeout(LONGEST_WAIT, self.parts(id)).await;
                                looked = Instant::now();
                                show(parts.ok().flatten());
                            }
                        }
                        None if known.elapsed() > UNKNOWN => bail!(
                            "cluster {}:{}: the scheduler knows nothing of job {id}: it was begun anew\n\
                             hint: run the command again, which goes on where it stands",
                            self.host,
                            self.port
                        ),
                        None => {}
                    }
                }
                Err(status) if heard.elapsed() > SILENCE => return Err(self.silent(&status)),
                Err(_) => {}
            }
            sleep((began.elapsed() / WAITED_PART).clamp(SHORTEST_WAIT, LONGEST_WAIT)).await;
        }
    }

    /// Ends job `id`, as far as the scheduler can be reached, by a connection of its own: one ends with the runtime that made it.
    pub(crate) async fn cancel(&self, id: String) {
        let Ok(client) = Self::new(self.host.clone(), self.port) else { return };
        let mut scheduler = client.scheduler();
        let told = timeout(LAST_WORD, scheduler.cancel_job(CancelJobParams { job_id: id })).await;
        if !matches!(told, Ok(Ok(_))) {
            tracing::warn!("a job that nobody waits for any more could not be cancelled");
        }
    }

    /// The rows of one part of a job that has ended.
    pub(crate) async fn rows(&self, part: PartitionLocation) -> Result<SendableRecordBatchStream> {
        let layout = part.layout();
        let executor = part.executor_meta.context("where a job's rows lie")?;
        let id = part.partition_id.context("which of a job's rows")?.into();
        let mut client = BallistaClient::try_new(
            &self.host,
            self.port,
            MAX_MESSAGE_BYTES as usize,
            false,
            None,
            3,
            3_000,
            0,
            0,
        )
        .await?;
        let port = u16::try_from(executor.port)?;
        let rows = client.fetch_partition_proxied(
            &executor.id,
            &id,
            part.file_id,
            layout,
            &executor.host,
            port,
            true,
        );
        Ok(rows.await?)
    }
}
