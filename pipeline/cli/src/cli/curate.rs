//! `tuwen curate`: pairs and images into examples.

use anyhow::Result;
use clap::Args;
use tuwen_corpus::Corpus;
use tuwen_etl::curate::{Gates, curate};
use tuwen_settings::Settings;

use crate::cli::cluster::{ClusterFlags, on_engine};
use crate::cli::flags::CorpusFlags;
use crate::cli::hold::{Ended, Holding};

/// Clean captions, choose splits, tokenise: rebuild examples
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen curate --tokenizer tokenizer.json
  tuwen curate --tokenizer tokenizer.json --set curate.min_chars=4
  tuwen curate --tokenizer tokenizer.json --split hash
  tuwen curate --tokenizer tokenizer.json --split source")]
pub(super) struct Curate {
    #[command(flatten)]
    curate: CurateFlags,
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    corpus: CorpusFlags,
}

/// What curate and run have in common.
#[derive(Args)]
pub(super) struct CurateFlags {
    /// The tokenizer.json captions are tokenised with
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<String>,
    /// Tokens kept of a caption, special tokens included
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Rule that puts pairs into splits: auto, source, filename, hash or sql: EXPRESSION [default: the corpus's; of a new one auto]
    #[arg(long, value_name = "RULE")]
    split: Option<String>,
    /// Shares of the splits by hash, such as train=0.98,validation=0.01,test=0.01
    #[arg(long, value_name = "SHARES")]
    split_shares: Option<String>,
    /// Commit although a gate is red (max_rejected_percent, curate.min_examples, curate.audits)
    #[arg(long)]
    force: bool,
}

impl CurateFlags {
    pub(super) fn settings(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("curate.tokenizer", self.tokenizer.clone()),
            ("curate.max_length", self.max_length.map(|n| n.to_string())),
            ("curate.split", self.split.clone()),
            ("curate.split_shares", self.split_shares.clone()),
        ]
    }

    /// The share of rows that may be malformed or rejected, in percent.
    pub(super) fn max_rejected_percent(&self, settings: &Settings) -> f64 {
        if self.force { 100.0 } else { settings.max_rejected_percent }
    }

    pub(super) fn gates(&self) -> Gates {
        if self.force {
            tracing::warn!("curate: --force: the gates are not asked");
            return Gates::Force;
        }
        Gates::Judge
    }
}

impl Curate {
    pub(super) async fn run(self) -> Result<Ended> {
        let flags = self.curate.settings().into_iter().chain([self.cluster.setting()]);
        let settings = self.corpus.settings(flags.collect())?;
        let corpus = on_engine(Corpus::open(&settings.corpus).await?, &settings)?;
        self.holding
            .run(&corpus, "curate", async |stop, stages| {
                let gates = self.curate.gates();
                stages.run("curate", curate(&corpus, &settings, gates, stop)).await
            })
            .await
    }
}
