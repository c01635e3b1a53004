//! `tuwen-cluster scheduler`: takes the plans of drivers and gives their parts to executors. Computes nothing itself.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_flight::flight_service_server::FlightServiceServer;
use axum::Json;
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::ListenerExt;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::flight_proxy_service::BallistaFlightProxyService;
use ballista_core::serde::BallistaLogicalExtensionCodec;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_scheduler::cluster::{BallistaCluster, ClusterState};
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::create_scheduler;
use ballista_scheduler::scheduler_server::SchedulerServer;
use clap::Args;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tuwen_etl::stop::stop_signals_saying;

use crate::codec::Codec;
use crate::long_poll::LongPoll;
use crate::losses::Counted;
use crate::{MAX_MESSAGE_BYTES, parts, session};

/// Take plans and give their parts to executors
///
/// Nothing is encrypted, and nobody is asked who they are: let drivers and executors alone reach the port. It answers HTTP there:
/// `/executors` lists the executors, `/jobs` says how far each job is that runs, `/healthz` that the scheduler lives, and `/readyz` that
/// there are executors.
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen-cluster scheduler
  tuwen-cluster scheduler --bind 0.0.0.0:50050 --executor-timeout 60")]
pub(crate) struct Scheduler {
    /// Address to listen at
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50050")]
    bind: SocketAddr,
    /// Seconds after which an executor that says nothing is lost, and what it had is computed again
    #[arg(long, value_name = "SECS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    executor_timeout: u64,
}

impl Scheduler {
    pub(crate) async fn serve(self) -> Result<()> {
        let stop = stop_signals_saying("stopping; again to stop at once")?;
        let listener = TcpListener::bind(self.bind);
        let listener = listener.await.with_context(|| format!("listening at {}", self.bind))?;
        let address = listener.local_addr()?;
        let config = SchedulerConfig {
            bind_host: address.ip().to_string(),
            bind_port: address.port(),
            external_host: address.ip().to_string(),
            // Executors ask for work. Of work that is pushed, that of a lost executor waits for ever if nothing else happens.
            scheduling_policy: TaskSchedulingPolicy::PullStaged,
            // Results go through the scheduler, so that a driver has to reach nothing else.
            enable_embedded_flight_proxy: true,
            grpc_server_max_decoding_message_size: MAX_MESSAGE_BYTES,
            grpc_server_max_encoding_message_size: MAX_MESSAGE_BYTES,
            grpc_client_max_message_size: MAX_MESSAGE_BYTES,
            executor_timeout_seconds: self.executor_timeout,
            expire_dead_executor_interval_seconds: self.executor_timeout.div_ceil(5),
            executor_termination_grace_period: self.executor_timeout,
            no_executors_grace_period_seconds: self.executor_timeout.max(60),
            // A person may read the rows of a query slowly.
            finished_job_data_clean_up_interval_seconds: 3600,
            override_config_producer: Some(Arc::new(session::config)),
            override_session_builder: Some(Arc::new(session::state)),
            override_logical_codec: Some(Arc::new(BallistaLogicalExtensionCodec::default())),
            override_physical_codec: Some(Arc::new(Codec::default())),
            ..SchedulerConfig::default()
        };
        config.validate()?;
        let cluster = BallistaCluster::new_from_config(&config).await?;
        let state = Arc::new(Counted::new(cluster.cluster_state()));
        let cluster = BallistaCluster::new(Arc::clone(&state) as Arc<_>, cluster.job_state());
        let scheduler = create_scheduler(cluster, Arc::new(config)).await?;
        let routes = routes(scheduler, state).into_make_service_with_connect_info::<SocketAddr>();
        tracing::info!("scheduler at {address}");
        // Without it a short answer waits for the other side's delayed acknowledgement, 40 ms.
        let listener = listener.tap_io(|tcp| {
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::debug!("answers may be slow: {error}");
            }
        });
        tokio::select! {
            served = axum::serve(listener, routes) => Ok(served?),
            () = stop.cancelled() => Ok(()),
        }
    }
}

/// What `/executors` says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Executors {
    /// Those that are there.
    pub(crate) executors: Vec<ExecutorRow>,
    /// How many were lost, or went, since the scheduler began.
    pub(crate) n_lost: u64,
}

/// An executor.
#[derive(Serialize, Deserialize)]
pub(crate) struct ExecutorRow {
    id: String,
    host: String,
    port: u16,
    /// Parts that it computes at once.
    pub(crate) vcores: u32,
}

async fn executors(state: &Counted) -> Executors {
    // In this order: who is lost meanwhile is not among those that are there.
    let n_lost = state.n_lost();
    let executors = state.registered_executor_metadata().await.into_iter();
    let rows = executors.map(|executor| ExecutorRow {
        id: executor.id,
        host: executor.host,
        port: executor.port,
        vcores: executor.specification.vcores,
    });
    Executors { executors: rows.collect(), n_lost }
}

/// What drivers and executors ask, all at one port.
fn routes(
    scheduler: SchedulerServer<LogicalPlanNode, PhysicalPlanNode>,
    state: Arc<Counted>,
) -> axum::Router {
    let most = MAX_MESSAGE_BYTES as usize;
    let running = Arc::clone(&scheduler.state);
    let scheduler = SchedulerGrpcServer::new(LongPoll(scheduler))
        .max_encoding_message_size(most)
        .max_decoding_message_size(most);
    let results =
        FlightServiceServer::new(BallistaFlightProxyService::new(most, most, false, None))
            .max_encoding_message_size(most)
            .max_decoding_message_size(most);
    let listed = Arc::clone(&state);
    let list = async move || Json(executors(&listed).await);
    let jobs = async move || {
        let running = running.task_manager.get_running_job_cache();
        Json(parts::jobs(&running).await)
    };
    let ready = async move || match executors(&state).await.executors.is_empty() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "no executor yet\n"),
        false => (StatusCode::OK, "ready\n"),
    };
    Routes::new(scheduler)
        .add_service(results)
        .into_axum_router()
        .route("/executors", get(list))
        .route("/jobs", get(jobs))
        .route("/readyz", get(ready))
        .route("/healthz", get(async || "alive\n"))
}
