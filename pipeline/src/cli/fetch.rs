//! `tuwen fetch`: CSVs into pairs, then bytes into originals.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::corpus::Corpus;
use crate::fetch::Source;
use crate::ingest::ingest;
use crate::report::StageReport;
use crate::settings::Settings;
use anyhow::Result;
use clap::Args;

use crate::cli::{Common, Output, flag};

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
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    common: Common,
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

    pub(super) fn source(&self) -> Source {
        self.image_dir.clone().map_or(Source::Http, Source::Folder)
    }

    /// Opens the corpus, making it if there are CSVs to put into it, and ingests them.
    pub(super) async fn ingest(&self, settings: &Settings) -> Result<(Corpus, Vec<StageReport>)> {
        if self.csv.is_empty() {
            return Ok((Corpus::open(&settings.corpus).await?, Vec::new()));
        }
        crate::ingest::check(&self.csv)?;
        let corpus = Corpus::open_or_create(&settings.corpus).await?;
        let report = ingest(&corpus, &self.csv).await?;
        Ok((corpus, vec![report]))
    }
}

impl Fetch {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.common.settings(self.fetch.settings())?;
        let (corpus, mut reports) = self.fetch.ingest(&settings).await?;
        reports.push(crate::fetch::fetch(&corpus, self.fetch.source(), &settings.fetch).await?);
        self.output.report(&reports, &settings)
    }
}
