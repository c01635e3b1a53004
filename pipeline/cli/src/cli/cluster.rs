//! Where plans are computed: the flag, and the binary that can reach a cluster.

use std::process::Command;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use tuwen_corpus::{Corpus, Engine, engine_at};
use tuwen_settings::Settings;

use crate::cli::hand_over::{binary, hand_over};

/// The cluster that computes.
#[derive(Args)]
pub(super) struct ClusterFlags {
    /// Compute on the cluster of this scheduler [default: on this machine]
    #[arg(long, value_name = "HOST:PORT")]
    cluster: Option<String>,
}

impl ClusterFlags {
    /// The flag, as that of a setting.
    pub(super) fn setting(&self) -> (&'static str, Option<String>) {
        ("cluster", self.cluster.clone())
    }
}

/// `corpus`, over whose tables is computed where `settings` say.
///
/// # Errors
/// The address is none, or this program cannot reach clusters.
pub(super) fn on_engine(corpus: Corpus, settings: &Settings) -> Result<Corpus> {
    Ok(corpus.on(engine_at(&settings.cluster, settings.cluster_least_bytes)?))
}

/// This process becomes `tuwen-cluster`, which does the same commands on a cluster.
pub(super) fn become_cluster(_address: &str, _least_bytes: u64) -> Result<Arc<dyn Engine>> {
    let hint = "cargo build -p tuwen-cluster, in a checkout";
    let mut command = Command::new(binary("tuwen-cluster", hint)?);
    command.args(std::env::args_os().skip(1));
    hand_over(command)?;
    unreachable!("another program has taken over")
}
