//! `tuwen score`: how much the images of a corpus say of their captions. In: arguments. Out: an exit code. Never computes.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::flags::TrainerFlags;
use super::opened::{Opened, open};
use super::summary::summary;
use crate::score_corpus::score_corpus;
use crate::score_stage::Wanted;

/// Measure how much images say of their captions, into the corpus's table `scores`
///
/// For each example of the split the model's loss on its caption, in nats a token, with its image and with the mean of
/// a sample of the corpus's pictures in its place. The
/// difference is the gain. Where it is low, the caption may not belong to the image. An example that the model has scored with the
/// same settings is left out, unless its caption or image is another now.
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen score --model model
  tuwen score --corpus corpus --model model/best --split test --where \"n_tokens > 5\"
  tuwen score --model model --from-sql \"select example_id from examples where split is not null\"
  tuwen sql --max-rows 20 -f sql/queries/doubtful_pairs.sql
  tuwen train --where \"gain > 0.1\" --out model-2")]
pub(super) struct ScoreArgs {
    /// Folder or URL of the corpus
    #[arg(long)]
    corpus: Option<String>,
    /// A checkpoint, a Hugging Face id, or a folder of checkpoints (the newest counts; its `best` is a checkpoint too)
    /// [default: train.out]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The split
    #[arg(long, default_value = "train", conflicts_with = "from_sql")]
    split: String,
    /// Score the examples of the split for which this SQL condition holds, over the columns that `tuwen train --where` has
    #[arg(
        long = "where",
        value_name = "SQL",
        allow_hyphen_values = true,
        conflicts_with = "from_sql"
    )]
    predicate: Option<String>,
    /// Score the examples whose example_id the rows of this query have
    #[arg(long, value_name = "QUERY", allow_hyphen_values = true)]
    from_sql: Option<String>,
    /// Do not judge how many of the examples asked for are left out
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    flags: TrainerFlags,
}

impl ScoreArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let opened = self.open();
        let wanted = match self.from_sql {
            Some(query) => Wanted::Query { query },
            None => Wanted::Split { split: self.split, predicate: self.predicate },
        };
        let scored = opened.and_then(|Opened { model, settings, folder }| {
            score_corpus(&model, &folder.display().to_string(), wanted, &settings)
        });
        summary("score", scored, self.flags.json)
    }

    fn open(&self) -> Result<Opened> {
        let settings = self.flags.resolve(&[("corpus", self.corpus.clone())])?;
        let mut opened = open(self.model.as_deref(), settings)?;
        opened.forces(self.force);
        Ok(opened)
    }
}
