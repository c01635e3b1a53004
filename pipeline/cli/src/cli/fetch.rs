//! `tuwen fetch`: sources into pairs, then bytes into originals.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::Corpus;
use tuwen_etl::fetch::{self, Origin};
use tuwen_etl::ingest::{Sources, ingest};
use tuwen_settings::Settings;

use crate::cli::age::parse_age;
use crate::cli::bytes::parse_bytes;
use crate::cli::cluster::{ClusterFlags, on_engine};
use crate::cli::flags::{CorpusFlags, flag};
use crate::cli::hold::{Ended, Holding, Stages};

/// Ingest sources (CSV, TSV, JSON lines, Parquet) and get the pictures' bytes
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen fetch train.csv test.csv
  tuwen fetch train.csv --image-dir bigdata/image_data
  tuwen fetch part-00000.snappy.parquet wukong_100m_0.csv
  tuwen fetch cc12m.tsv --columns url=1,text=2
  tuwen fetch crawl.csv --columns text=标题,url=图片 --encoding gb18030
  tuwen fetch --retry http_status,not_an_image --retry-older-than 30d
  tuwen fetch --deadline 6h --metrics 127.0.0.1:9898
  tuwen fetch --shard 2/8
  python3 -m http.server 8765 --bind 127.0.0.1 & tuwen fetch local.csv --allow-private-hosts")]
pub(super) struct Fetch {
    #[command(flatten)]
    fetch: FetchFlags,
    /// Do not judge the gate (max_rejected_percent: locators without bytes, of all; malformed rows of a source)
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    corpus: CorpusFlags,
}

/// What fetch and run have in common.
#[derive(Args)]
pub(super) struct FetchFlags {
    /// Files of captions with URLs or file names: CSV, TSV, JSON lines or Parquet, also as .gz or .zst; none: go on with the pairs
    /// the corpus has
    #[arg(value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// Columns that are not called text (caption), url and filename, such as text=标题,url=图片; numbers where there is no header:
    /// url=1,text=2
    #[arg(long, value_name = "NAMES")]
    columns: Option<String>,
    /// Encoding of the sources, such as gb18030 or big5 [default: auto]
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// Read pictures from this folder by the sources' file names; nothing is downloaded
    #[arg(long, value_name = "DIR")]
    image_dir: Option<PathBuf>,
    /// Ask addresses that are not public too (loopback, private networks)
    #[arg(long)]
    allow_private_hosts: bool,
    /// Try again what failed before, for whatever reason; what may pass is tried again without being told
    #[arg(long)]
    retry_failed: bool,
    /// Try again what failed for these reasons (outcomes, divided by commas)
    #[arg(long, value_name = "OUTCOMES")]
    retry: Option<String>,
    /// Ask again for pictures that are there too, and store those that have changed
    #[arg(long)]
    refresh: bool,
    /// Of what is refreshed or tried again, only what was last asked for so long ago, such as 30d
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    retry_older_than: Option<Duration>,
    /// Fetch only the hosts of part K of N
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// After so long do what Ctrl-C does: begin nothing more, commit what came, exit with code 130
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    deadline: Option<Duration>,
    /// Serve metrics for Prometheus at this address, such as 127.0.0.1:9898
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<String>,
    /// Bytes of memory that bodies and commits under way may take, such as 512M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
    /// Requests under way at once
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
    /// Seconds a whole request may take
    #[arg(long, value_name = "SECS")]
    timeout: Option<u64>,
}

impl FetchFlags {
    pub(super) fn settings(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("ingest.columns", self.columns.clone()),
            ("ingest.encoding", self.encoding.clone()),
            ("fetch.allow_private_hosts", flag(self.allow_private_hosts)),
            ("fetch.retry_failed", flag(self.retry_failed)),
            ("fetch.refresh", flag(self.refresh)),
            ("fetch.retry", self.retry.clone()),
            (
                "fetch.retry_older_than_secs",
                self.retry_older_than.map(|age| age.as_secs().to_string()),
            ),
            ("fetch.shard", self.shard.clone()),
            ("fetch.metrics", self.metrics.clone()),
            ("fetch.memory_limit", self.memory_limit.map(|bytes| bytes.to_string())),
            ("fetch.concurrency", self.concurrency.map(|n| n.to_string())),
            ("fetch.timeout_secs", self.timeout.map(|secs| secs.to_string())),
        ]
    }

    pub(super) fn origin(&self) -> Origin {
        self.image_dir.clone().map_or(Origin::Http, Origin::Folder)
    }

    /// Opens the sources, of whose first rows at most `max_malformed_percent` may be malformed, and the corpus, making it if there
    /// are sources to put into it.
    pub(super) async fn open(
        &self,
        settings: &Settings,
        max_malformed_percent: f64,
    ) -> Result<(Sources, Corpus)> {
        fetch::check(&settings.fetch)?;
        let sources = Sources::open(&self.sources, &settings.ingest, max_malformed_percent)?;
        let corpus = match self.sources.is_empty() {
            true => Corpus::open(&settings.corpus).await?,
            false => Corpus::open_or_create(&settings.corpus).await?,
        };
        Ok((sources, on_engine(corpus, settings)?))
    }

    /// Whether there are sources to put into the corpus.
    pub(super) fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Ingests the sources, if there are any, and fetches.
    pub(super) async fn fetch(
        &self,
        (sources, corpus): (&Sources, &Corpus),
        settings: &Settings,
        max_rejected_percent: Option<f64>,
        stop: &CancellationToken,
        stages: &mut Stages<'_>,
    ) -> Result<()> {
        if let Some(deadline) = self.deadline {
            cancel_after(deadline, stop);
        }
        if !self.sources.is_empty() {
            stages.run("ingest", ingest(corpus, sources, stop)).await?;
        }
        let (origin, most) = (self.origin(), max_rejected_percent);
        let fetch = fetch::fetch(corpus, origin, &settings.fetch, most, stop);
        stages.run("fetch", fetch).await
    }
}

/// Cancels `stop` after `deadline`.
fn cancel_after(deadline: Duration, stop: &CancellationToken) {
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(deadline).await;
        tracing::warn!("the deadline is there: stopping after the chunk under way");
        stop.cancel();
    });
}

impl Fetch {
    pub(super) async fn run(self) -> Result<Ended> {
        let flags = self.fetch.settings().into_iter().chain([self.cluster.setting()]);
        let settings = self.corpus.settings(flags.collect())?;
        let most = (!self.force).then_some(settings.max_rejected_percent);
        let (sources, corpus) = self.fetch.open(&settings, most.unwrap_or(100.0)).await?;
        self.holding
            .run(&corpus, "fetch", async |stop, stages| {
                self.fetch.fetch((&sources, &corpus), &settings, most, stop, stages).await
            })
            .await
    }
}
