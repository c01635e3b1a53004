//! `tuwen serve`: a corpus for programs and people elsewhere.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use tuwen_etl::sql::default_memory_bytes;
use tuwen_etl::stop::stop_signals;

use crate::cli::flags::CorpusFlags;
use crate::server::{Bounds, Served, serve};

/// Serve a corpus: a page to look at it
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen serve
  tuwen serve --corpus s3://bucket/corpus --page 127.0.0.1:9000")]
pub(super) struct Serve {
    /// Where the page is
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    page: SocketAddr,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Serve {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.corpus.settings(Vec::new())?;
        let bounds = Bounds { memory_bytes: default_memory_bytes(), timeout: None };
        let served = Arc::new(Served::open(settings, bounds).await?);
        serve(served, self.page, stop_signals()?).await?;
        Ok(ExitCode::SUCCESS)
    }
}
