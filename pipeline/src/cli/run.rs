//! `tuwen run`: fetch, decode and curate in order.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::curate::CaptionTokenizer;
use anyhow::Result;
use clap::Args;

use crate::cli::{Common, Output, curate, fetch};

/// Fetch, decode and curate in order, each only what is new
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen run train.csv test.csv --tokenizer tokenizer.json
  tuwen run train.csv --image-dir images --tokenizer tokenizer.json --json")]
pub(super) struct Run {
    #[command(flatten)]
    fetch: fetch::FetchFlags,
    #[command(flatten)]
    curate: curate::CurateFlags,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    common: Common,
}

impl Run {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let flags = self.fetch.settings().into_iter().chain(self.curate.settings()).collect();
        let settings = self.common.settings(flags)?;
        // A wrong tokenizer should be told before hours of downloads.
        CaptionTokenizer::open(
            &PathBuf::from(&settings.curate.tokenizer),
            settings.curate.max_length,
        )?;
        let (corpus, mut reports) = self.fetch.ingest(&settings).await?;
        reports.push(crate::fetch::fetch(&corpus, self.fetch.source(), &settings.fetch).await?);
        reports.push(crate::decode::decode(&corpus, &settings.decode).await?);
        reports.push(crate::curate::curate(&corpus, &settings.curate).await?);
        self.output.report(&reports, &settings)
    }
}
