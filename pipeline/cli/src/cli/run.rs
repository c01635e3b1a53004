//! `tuwen run`: fetch, decode and curate in order.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tuwen_etl::curate::CaptionTokenizer;
use tuwen_etl::decode::decode;

use crate::cli::hold::Holding;
use crate::cli::{Common, curate, fetch};

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
    holding: Holding,
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
        let corpus = self.fetch.open(&settings).await?;
        self.holding
            .run(&corpus, "run", settings.max_rejected_percent, async |stop, reports| {
                self.fetch.fetch(&corpus, &settings, stop, reports).await?;
                if !stop.is_cancelled() {
                    reports.push(decode(&corpus, &settings.decode, stop).await?);
                }
                if !stop.is_cancelled() {
                    reports.push(
                        tuwen_etl::curate::curate(&corpus, &settings, self.curate.gates(), stop)
                            .await?,
                    );
                }
                Ok(())
            })
            .await
    }
}
