//! Executors that ask for work wait for it. In: the scheduler's service. Out: the same, but that a question to which there is nothing to
//! say is answered when there is, or after a moment. Ballista's executors leave 50 ms between an answer without work and the next
//! question, for which each stage of each job would wait: it begins a little after the end of the one before was told.

use std::time::Duration;

use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{
    CancelJobParams, CancelJobResult, CleanJobDataParams, CleanJobDataResult,
    CreateUpdateSessionParams, CreateUpdateSessionResult, ExecuteQueryParams, ExecuteQueryResult,
    ExecutorStoppedParams, ExecutorStoppedResult, GetJobMetricsParams, GetJobMetricsResult,
    GetJobStatusParams, GetJobStatusResult, HeartBeatParams, HeartBeatResult, PollWorkParams,
    PollWorkResult, RegisterExecutorParams, RegisterExecutorResult, RemoveSessionParams,
    RemoveSessionResult, UpdateTaskStatusParams, UpdateTaskStatusResult,
};
use ballista_core::serde::scheduler::ExecutorSpecification;
use tokio::time::{Instant, sleep};
use tonic::{Request, Response, Status};

/// How long an executor waits that has nothing under way, and one that has, whose end it tells with its next question.
const IDLE_WAITS: Duration = Duration::from_secs(1);
const BUSY_WAITS: Duration = Duration::from_millis(50);

/// After how long is looked again whether there is something to do: soon at first, since what is told of one stage often lets the next
/// begin, then each time later.
const SHORTEST_LOOK: Duration = Duration::from_millis(3);
const LONGEST_LOOK: Duration = Duration::from_millis(50);

/// A scheduler's service whose questions for work wait.
pub(crate) struct LongPoll<S>(pub(crate) S);

impl<S: SchedulerGrpc> LongPoll<S> {
    async fn work(
        &self,
        request: Request<PollWorkParams>,
    ) -> Result<Response<PollWorkResult>, Status> {
        let (metadata, extensions, mut asked) = request.into_parts();
        let specification = asked.metadata.as_ref().and_then(|said| said.specification.clone());
        let n_cores = specification.map(Into::<ExecutorSpecification>::into).map(|it| it.vcores);
        let is_idle = n_cores == Some(asked.num_free_vcores);
        let until = Instant::now() + if is_idle { IDLE_WAITS } else { BUSY_WAITS };
        let mut look = SHORTEST_LOOK;
        loop {
            let request = Request::from_parts(metadata.clone(), extensions.clone(), asked.clone());
            let answer = self.0.poll_work(request).await?;
            let said = answer.get_ref();
            let is_told = !said.tasks.is_empty() || !said.jobs_to_clean.is_empty();
            if is_told || asked.num_free_vcores == 0 || Instant::now() >= until {
                return Ok(answer);
            }
            // What has ended is told once.
            asked.task_status.clear();
            sleep(look).await;
            look = (look + look / 2).min(LONGEST_LOOK);
        }
    }
}

macro_rules! all_but_work_as_it_is {
    ($($question:ident($asked:ident) -> $said:ident),+ $(,)?) => {
        #[tonic::async_trait]
        impl<S: SchedulerGrpc> SchedulerGrpc for LongPoll<S> {
            type ExecuteQueryPushStream = S::ExecuteQueryPushStream;

            async fn poll_work(
                &self,
                request: Request<PollWorkParams>,
            ) -> Result<Response<PollWorkResult>, Status> {
                self.work(request).await
            }

            async fn execute_query_push(
                &self,
                request: Request<ExecuteQueryParams>,
            ) -> Result<Response<Self::ExecuteQueryPushStream>, Status> {
                self.0.execute_query_push(request).await
            }

            $(async fn $question(
                &self,
                request: Request<$asked>,
            ) -> Result<Response<$said>, Status> {
                self.0.$question(request).await
            })+
        }
    };
}

all_but_work_as_it_is!(
    register_executor(RegisterExecutorParams) -> RegisterExecutorResult,
    heart_beat_from_executor(HeartBeatParams) -> HeartBeatResult,
    update_task_status(UpdateTaskStatusParams) -> UpdateTaskStatusResult,
    create_update_session(CreateUpdateSessionParams) -> CreateUpdateSessionResult,
    remove_session(RemoveSessionParams) -> RemoveSessionResult,
    execute_query(ExecuteQueryParams) -> ExecuteQueryResult,
    get_job_status(GetJobStatusParams) -> GetJobStatusResult,
    get_job_metrics(GetJobMetricsParams) -> GetJobMetricsResult,
    executor_stopped(ExecutorStoppedParams) -> ExecutorStoppedResult,
    cancel_job(CancelJobParams) -> CancelJobResult,
    clean_job_data(CleanJobDataParams) -> CleanJobDataResult,
);
