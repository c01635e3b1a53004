//! `tuwen run`: fetch, decode and curate in order.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use tuwen_etl::curate::{CaptionTokenizer, SplitRule, caption_rules, curate};
use tuwen_etl::decode::decode;

use crate::cli::cluster::ClusterFlags;
use crate::cli::curate::CurateFlags;
use crate::cli::fetch::FetchFlags;
use crate::cli::flags::CorpusFlags;
use crate::cli::hold::{Ended, Holding};

/// Fetch, decode and curate in order, each only what is new
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen run train.csv test.csv --tokenizer tokenizer.json
  tuwen run train.csv --image-dir images --tokenizer tokenizer.json --json
  tuwen run part-*.parquet --columns text=alt,url=src --tokenizer tokenizer.json")]
pub(super) struct Run {
    #[command(flatten)]
    fetch: FetchFlags,
    #[command(flatten)]
    curate: CurateFlags,
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Run {
    pub(super) async fn run(self) -> Result<Ended> {
        let flags = self.fetch.settings().into_iter().chain(self.curate.settings());
        let flags = flags.chain([self.cluster.setting()]).collect();
        let settings = self.corpus.settings(flags)?;
        // A wrong tokenizer, or rule, should be told before hours of downloads.
        CaptionTokenizer::open(
            &PathBuf::from(&settings.curate.tokenizer),
            settings.curate.max_length,
        )?;
        caption_rules(&settings.curate)?;
        SplitRule::of(&settings.curate, None)?;
        let most = self.curate.max_rejected_percent(&settings);
        let (sources, corpus) = self.fetch.open(&settings, most).await?;
        // What the corpus's own rule does not go with, too.
        let last = corpus.snapshot().await?.last_run("curate").await?;
        SplitRule::of(&settings.curate, last.as_ref())?;
        self.holding
            .run(&corpus, "run", async |stop, stages| {
                // The gates of curate judge all rows.
                // What is shared with another corpus is fetched there.
                if self.fetch.has_sources() || !corpus.is_shared("originals") {
                    self.fetch.fetch((&sources, &corpus), &settings, None, stop, stages).await?;
                }
                stages.run("decode", decode(&corpus, &settings.decode, &[], None, stop)).await?;
                let gates = self.curate.gates();
                stages.run("curate", curate(&corpus, &settings, gates, stop)).await
            })
            .await
    }
}
