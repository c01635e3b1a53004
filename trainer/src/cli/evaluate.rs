//! `tuwen evaluate`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::flags::{TrainerFlags, text};
use super::generate::GenerateArgs;
use super::opened::{Opened, open};
use crate::evaluate::{EvalSet, evaluate};
use crate::progress::describe;
use crate::ranks::Ranks;

/// Loss and perplexity on a split; BLEU, ROUGE-L, CIDEr-D and exact matches of generated captions
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen evaluate --corpus corpus --model model
  tuwen evaluate --corpus corpus --model model/best --num-beams 1
  tuwen evaluate --examples 500 --captions 500 --predictions predictions.jsonl --json")]
pub(super) struct EvaluateArgs {
    /// Folder or URL of the corpus
    #[arg(long)]
    corpus: Option<String>,
    /// A checkpoint, a Hugging Face id, or a folder of checkpoints (the newest counts; its `best` is a checkpoint too)
    /// [default: train.out]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The split
    #[arg(long, default_value = "test")]
    split: String,
    /// Examples; 0: all
    #[arg(long)]
    examples: Option<u64>,
    /// Images to caption, once each, and to compare with all captions the split has of them
    #[arg(long)]
    captions: Option<u64>,
    /// Where to write every generated caption: image_id, references, caption, score, a JSON object a line
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    #[command(flatten)]
    flags: TrainerFlags,
    #[command(flatten)]
    generate: GenerateArgs,
}

impl EvaluateArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut named = Vec::from(self.generate.named());
        named.extend([
            ("corpus", self.corpus),
            ("train.eval_examples", text(self.examples)),
            ("train.eval_captions", text(self.captions)),
        ]);
        let Opened { model, settings, .. } =
            open(self.model.as_deref(), self.flags.resolve(&named)?)?;
        let ranks = Ranks::alone();
        let set = EvalSet::open(
            &settings.corpus,
            &self.split,
            &settings.train,
            &ranks,
            model.captioner.config.ids.pad,
            None,
        )?;
        let mut file = match &self.predictions {
            Some(path) => Some(std::io::BufWriter::new(
                std::fs::File::create(path)
                    .with_context(|| format!("creating {}", path.display()))?,
            )),
            None => None,
        };
        let figures =
            evaluate(&model, &set, &settings.train, &ranks, |prediction, _| match &mut file {
                Some(file) => writeln!(file, "{}", serde_json::to_string(prediction)?)
                    .context("writing predictions"),
                None => Ok(()),
            })
            .with_context(|| format!("corpus {}, split {}", settings.corpus, self.split))?;
        if let Some(mut file) = file {
            file.flush().context("writing predictions")?;
        }
        let line =
            if self.flags.json { serde_json::to_string(&figures)? } else { describe(&figures) };
        writeln!(std::io::stdout(), "{line}").context("writing to stdout")?;
        Ok(ExitCode::SUCCESS)
    }
}
