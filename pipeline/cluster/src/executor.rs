//! `tuwen-cluster executor`: computes parts of plans that a scheduler gives it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::serde::BallistaLogicalExtensionCodec;
use ballista_executor::execution_engine::DefaultExecutionEngine;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use clap::Args;
use tuwen::cli::parse_bytes;
use tuwen_corpus::OwnFolder;

use crate::codec::Codec;
use crate::connections::Connections;
use crate::engine::split_address;
use crate::failure::Telling;
use crate::{MAX_MESSAGE_BYTES, session};

/// Compute parts of plans that a scheduler gives out
///
/// Stores are opened with what this process's environment says of them (AWS_…, GOOGLE_…, AZURE_…); a folder must lie at the same path on
/// all machines. Nothing is encrypted, and nobody is asked who they are: let the scheduler and other executors alone reach the port.
///
/// Ends at SIGTERM; what it has begun then is given to others, unless that ends within the scheduler's --executor-timeout.
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen-cluster executor
  tuwen-cluster executor --scheduler scheduler:50050 --bind 0.0.0.0 --host 10.0.0.7 --vcores 8 --memory 24G --work-dir /scratch")]
pub(crate) struct Executor {
    /// The scheduler
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50050")]
    scheduler: String,
    /// Parts computed at once [default: cores of the machine]
    #[arg(long, value_name = "N")]
    vcores: Option<usize>,
    /// Memory that all parts together may hold before they spill [default: 70 % of the machine's or the container's]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Where intermediate results and what is spilled lie [default: a folder in TMPDIR]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Address to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    bind: String,
    /// Name or address under which the others reach this executor [default: the one it listens at]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Port at which the others get results
    #[arg(long, value_name = "PORT", default_value_t = 50_051)]
    port: u16,
    /// Seconds to wait for the scheduler at the start
    #[arg(long, value_name = "SECS", default_value_t = 60)]
    connect_timeout: u16,
}

/// The name or address by which others reach an executor that listens at `bind` and is called `host`.
///
/// # Errors
/// It says nothing to others, or not to those of a scheduler at `scheduler`.
fn reached_at(bind: &str, host: Option<&str>, scheduler: &str) -> Result<String> {
    let address = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let is_loopback = |host: &str| {
        host == "localhost" || address(host).is_some_and(|address| address.is_loopback())
    };
    let reached_at = host.unwrap_or(bind);
    let is_anywhere = address(reached_at).is_some_and(|address| address.is_unspecified());
    if is_anywhere || (host.is_none() && is_loopback(bind) && !is_loopback(scheduler)) {
        bail!(
            "--host: expected a name or an address by which others reach this executor, found {reached_at}\n\
             hint: --bind 0.0.0.0 --host NAME"
        );
    }
    Ok(reached_at.to_owned())
}

impl Executor {
    pub(crate) async fn serve(self) -> Result<()> {
        let (scheduler_host, scheduler_port) = split_address(&self.scheduler)?;
        let host = reached_at(&self.bind, self.host.as_deref(), &scheduler_host)?;
        let vcores = match self.vcores {
            Some(0) => bail!("--vcores: expected 1 or more, found 0"),
            Some(n) => n,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        // As long as this process lives.
        let mut made_folder = None;
        let work_dir = match &self.work_dir {
            Some(folder) => {
                std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
                folder.clone()
            }
            None => {
                let made = made_folder.insert(OwnFolder::new("tuwen-executor-")?);
                let folder = made.path().join("work");
                std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
                folder
            }
        };
        let work_dir = work_dir.to_str().context("--work-dir: expected UTF-8")?.to_owned();
        let spill = work_dir.clone();
        let engine = DefaultExecutionEngine::with_client_pool(Arc::<Connections>::default());
        let config = ExecutorProcessConfig {
            bind_host: self.bind,
            external_host: Some(host),
            port: self.port,
            task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
            scheduler_host,
            scheduler_port,
            scheduler_connect_timeout_seconds: self.connect_timeout,
            vcores,
            work_dir: Some(work_dir),
            memory_pool_size: self.memory,
            grpc_max_decoding_message_size: MAX_MESSAGE_BYTES,
            grpc_max_encoding_message_size: MAX_MESSAGE_BYTES,
            // What jobs leave, if their scheduler is gone before it says that they ended.
            job_data_ttl_seconds: 24 * 3600,
            job_data_clean_up_interval_seconds: 600,
            override_execution_engine: Some(Arc::new(Telling(engine))),
            override_function_registry: Some(Arc::new(session::functions()?)),
            override_config_producer: Some(Arc::new(session::config)),
            override_runtime_producer: Some(Arc::new(move |_| session::runtime(Some(&spill)))),
            override_logical_codec: Some(Arc::new(BallistaLogicalExtensionCodec::default())),
            override_physical_codec: Some(Arc::new(Codec::default())),
            ..ExecutorProcessConfig::default()
        };
        let port = config.port;
        tracing::info!(
            "executor at port {port}, {vcores} parts at once, scheduler {}",
            self.scheduler
        );
        Ok(start_executor_process(Arc::new(config)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_says_where_others_reach_it() {
        for (bind, host, scheduler, expected) in [
            ("127.0.0.1", None, "127.0.0.1", Some("127.0.0.1")),
            ("::1", None, "localhost", Some("::1")),
            ("127.0.0.1", None, "head", None),
            ("0.0.0.0", None, "127.0.0.1", None),
            ("::", None, "[::1]", None),
            ("0.0.0.0", Some("0.0.0.0"), "head", None),
            ("0.0.0.0", Some("a"), "head", Some("a")),
            ("10.0.0.7", None, "head", Some("10.0.0.7")),
        ] {
            let reached = reached_at(bind, host, scheduler);
            assert_eq!(reached.ok().as_deref(), expected, "{bind} {host:?} {scheduler}");
        }
    }
}
