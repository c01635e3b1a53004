//! `tuwen train`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use tuwen_corpus::report::rate;
use tuwen_etl::exit_code::INTERRUPTED;
use tuwen_settings::Settings;

use super::flags::{TrainerFlags, is_given, resumed_settings, text};
use crate::train::{Summary, train};

/// Train a captioning model on a corpus's training split
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen train --preset tiny --tokenizer tokenizer.json --out model
  tuwen train --preset seed --device cuda:0
  tuwen train --encoder google/vit-base-patch16-224 --decoder yuanzhoulvpi/gpt2_chinese --device cuda:0
  tuwen train --where \"gain > 0.1\"   # without pairs that `tuwen score` found doubtful
  tuwen train --resume auto
  torchrun --no-python --nproc-per-node 4 tuwen-trainer train --corpus corpus --encoder google/vit-base-patch16-224")]
pub(super) struct TrainArgs {
    /// Folder or URL of the corpus
    #[arg(long)]
    corpus: Option<String>,
    /// scratch (fresh weights), seed (the original's recipe, from two models of the hub) or tiny (minutes on a CPU)
    #[arg(long)]
    preset: Option<String>,
    /// Folder or Hugging Face id of a whole model to start from
    #[arg(long, value_name = "DIR", conflicts_with_all = ["encoder", "decoder"])]
    model: Option<String>,
    /// Folder or Hugging Face id of a ViT to start from
    #[arg(long, value_name = "DIR")]
    encoder: Option<String>,
    /// Folder or Hugging Face id of a GPT-2 to start from
    #[arg(long, value_name = "DIR")]
    decoder: Option<String>,
    /// The tokenizer.json the corpus was curated with
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<String>,
    /// Folder for the checkpoints
    #[arg(long, value_name = "DIR")]
    out: Option<String>,
    /// auto (the newest checkpoint of --out, if any) or a checkpoint's folder; its settings hold but for what is given now
    #[arg(long)]
    resume: Option<String>,
    /// Train on the examples for which this SQL condition holds [setting: train.predicate]
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicate: Option<String>,
    /// Optimizer steps
    #[arg(long)]
    steps: Option<u64>,
    /// Passes over the training split
    #[arg(long)]
    epochs: Option<u64>,
    #[command(flatten)]
    flags: TrainerFlags,
}

impl TrainArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let resolved = self.flags.resolve(&[
            ("corpus", self.corpus),
            ("train.preset", self.preset),
            ("train.model", self.model),
            ("train.encoder", self.encoder),
            ("train.decoder", self.decoder),
            ("train.tokenizer", self.tokenizer),
            ("train.out", self.out),
            ("train.resume", self.resume),
            ("train.predicate", self.predicate),
            ("train.steps", text(self.steps)),
            ("train.epochs", text(self.epochs)),
        ])?;
        let origins = resolved.origins.clone();
        let Settings { corpus, curate, train: settings, .. } = resumed_settings(resolved)?;
        let is_given = |key: &str| is_given(&origins, &format!("train.{key}"));
        let summary = train(&corpus, &settings, &curate.tokenizer, is_given)?;
        // What one rank prints is true of all.
        if summary.rank == 0 {
            summary.print(self.flags.json)?;
        }
        if summary.stopped {
            tracing::warn!(
                "interrupted: the checkpoint is saved\nhint: --resume auto resumes from it"
            );
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Summary {
    /// A line for people, and for programs a JSON object.
    fn print(&self, json: bool) -> Result<()> {
        tracing::info!(
            "{} of {} steps in {:.0} s, {} images/s, data_wait {:.1} %: {}",
            self.steps,
            self.steps_planned,
            self.seconds,
            rate(self.train_images_per_s),
            self.data_wait_percent,
            self.checkpoint.display()
        );
        if json {
            writeln!(std::io::stdout(), "{}", serde_json::to_string(self)?)
                .context("writing to stdout")?;
        }
        Ok(())
    }
}
