//! `tuwen fetch`: CSVs into pairs, then bytes into originals.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::Corpus;
use tuwen_etl::fetch::{self, Origin};
use tuwen_etl::ingest;
use tuwen_settings::Settings;

use crate::cli::flags::{CorpusFlags, flag};
use crate::cli::hold::{Holding, Stages};

/// Ingest CSV files (text,url,filename) and get the pictures' bytes
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen fetch train.csv test.csv
  tuwen fetch train.csv --image-dir bigdata/image_data
  tuwen fetch --retry-failed
  python3 -m http.server 8765 --bind 127.0.0.1 & tuwen fetch local.csv --allow-private-hosts")]
pub(super) struct Fetch {
    #[command(flatten)]
    fetch: FetchFlags,
    /// Do not judge the gate (max_rejected_percent: locators without bytes, of all)
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    corpus: CorpusFlags,
}

/// What fetch and run have in common.
#[derive(Args)]
pub(super) struct FetchFlags {
    /// CSV files with the columns text, url and filename; none: go on with the pairs the corpus has
    #[arg(value_name = "CSV")]
    csv: Vec<PathBuf>,
    /// Read pictures from this folder by the CSV's file names; nothing is downloaded
    #[arg(long, value_name = "DIR")]
    image_dir: Option<PathBuf>,
    /// Ask addresses that are not public too (loopback, private networks)
    #[arg(long)]
    allow_private_hosts: bool,
    /// Try again what failed before
    #[arg(long)]
    retry_failed: bool,
    /// Requests under way at once
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
    /// Seconds a request may take
    #[arg(long, value_name = "SECS")]
    timeout: Option<u64>,
}

impl FetchFlags {
    pub(super) fn settings(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("fetch.allow_private_hosts", flag(self.allow_private_hosts)),
            ("fetch.retry_failed", flag(self.retry_failed)),
            ("fetch.concurrency", self.concurrency.map(|n| n.to_string())),
            ("fetch.timeout_secs", self.timeout.map(|secs| secs.to_string())),
        ]
    }

    pub(super) fn origin(&self) -> Origin {
        self.image_dir.clone().map_or(Origin::Http, Origin::Folder)
    }

    /// Opens the corpus, making it if there are CSVs to put into it.
    pub(super) async fn open(&self, settings: &Settings) -> Result<Corpus> {
        if self.csv.is_empty() {
            return Corpus::open(&settings.corpus).await;
        }
        ingest::check(&self.csv)?;
        Corpus::open_or_create(&settings.corpus).await
    }

    /// Ingests the CSVs, if there are any, and fetches.
    pub(super) async fn fetch(
        &self,
        corpus: &Corpus,
        settings: &Settings,
        max_rejected_percent: Option<f64>,
        stop: &CancellationToken,
        stages: &mut Stages<'_>,
    ) -> Result<()> {
        if !self.csv.is_empty() {
            stages.run("ingest", ingest::ingest(corpus, &self.csv, stop)).await?;
        }
        let (origin, most) = (self.origin(), max_rejected_percent);
        let fetch = fetch::fetch(corpus, origin, &settings.fetch, most, stop);
        stages.run("fetch", fetch).await
    }
}

impl Fetch {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.corpus.settings(self.fetch.settings())?;
        let corpus = self.fetch.open(&settings).await?;
        self.holding
            .run(&corpus, "fetch", async |stop, stages| {
                let most = (!self.force).then_some(settings.max_rejected_percent);
                self.fetch.fetch(&corpus, &settings, most, stop, stages).await
            })
            .await
    }
}
