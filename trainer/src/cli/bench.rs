//! `tuwen-trainer bench`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::flags::TrainerFlags;
use crate::bench::{BenchOptions, bench};

/// How fast this machine trains: the computation alone, the loader alone, both together
#[derive(Args)]
#[command(
    override_usage = "tuwen-trainer bench [OPTIONS]",
    after_help = "Examples:
  tuwen-trainer bench --corpus corpus --preset tiny
  tuwen-trainer bench --synthetic --model vit-gpt2 --captions 64 --set train.batch_size=16 --json"
)]
pub(super) struct BenchArgs {
    /// Folder or URL of the corpus
    #[arg(long, conflicts_with = "synthetic")]
    corpus: Option<String>,
    /// Random pictures and captions instead of a corpus: the computation alone
    #[arg(long)]
    synthetic: bool,
    /// scratch, seed or tiny
    #[arg(long)]
    preset: Option<String>,
    /// Folder or Hugging Face id of a whole model
    #[arg(long, value_name = "DIR")]
    model: Option<String>,
    /// The tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<String>,
    /// Optimizer steps of a round; five rounds are measured, and the median counts
    #[arg(long, default_value_t = 10)]
    steps: u64,
    /// Steps before the first round
    #[arg(long, default_value_t = 3)]
    warmup: u64,
    /// Tokens of a made-up caption
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    tokens: u16,
    /// Pictures captioned in a round; 0: none
    #[arg(long, default_value_t = 0)]
    captions: usize,
    #[command(flatten)]
    flags: TrainerFlags,
}

impl BenchArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let settings = self.flags.resolve(&[
            ("corpus", self.corpus),
            ("train.preset", self.preset),
            ("train.model", self.model),
            ("train.tokenizer", self.tokenizer),
        ])?;
        let settings = settings.settings;
        let options = BenchOptions {
            steps: self.steps,
            warmup: self.warmup,
            tokens: self.tokens.into(),
            captions: self.captions,
        };
        let corpus = (!self.synthetic).then_some(settings.corpus.as_str());
        let figures = bench(corpus, &settings.train, &settings.curate.tokenizer, &options)?;
        let text =
            if self.flags.json { serde_json::to_string(&figures)? } else { figures.to_string() };
        writeln!(std::io::stdout(), "{text}").context("writing to stdout")?;
        Ok(ExitCode::SUCCESS)
    }
}
