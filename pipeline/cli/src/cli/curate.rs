//! `tuwen curate`: pairs and images into examples.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tuwen_corpus::Corpus;
use tuwen_etl::curate::Gates;

use crate::cli::hold::Holding;
use crate::cli::{Common, path};

/// Clean captions, choose splits, tokenise: rebuild examples
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen curate --tokenizer tokenizer.json
  tuwen curate --tokenizer tokenizer.json --set curate.min_chars=4")]
pub(super) struct Curate {
    #[command(flatten)]
    curate: CurateFlags,
    #[command(flatten)]
    holding: Holding,
    #[command(flatten)]
    common: Common,
}

/// What curate and run have in common.
#[derive(Args)]
pub(super) struct CurateFlags {
    /// The tokenizer.json captions are tokenised with
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Tokens kept of a caption, special tokens included
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Commit although a gate is red (max_rejected_percent, curate.min_examples, curate.audits)
    #[arg(long)]
    force: bool,
}

impl CurateFlags {
    pub(super) fn settings(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("curate.tokenizer", path(&self.tokenizer)),
            ("curate.max_length", self.max_length.map(|n| n.to_string())),
        ]
    }
}

impl CurateFlags {
    pub(super) fn gates(&self) -> Gates {
        if self.force {
            eprintln!("curate: --force: the gates are not asked");
            return Gates::Force;
        }
        Gates::Judge
    }
}

impl Curate {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.common.settings(self.curate.settings())?;
        let corpus = Corpus::open(&settings.corpus).await?;
        let most = settings.max_rejected_percent;
        self.holding
            .run(&corpus, "curate", most, async |stop, reports| {
                reports.push(
                    tuwen_etl::curate::curate(&corpus, &settings, self.curate.gates(), stop)
                        .await?,
                );
                Ok(())
            })
            .await
    }
}
