//! `tuwen caption`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::flags::TrainerFlags;
use super::generate::GenerateArgs;
use super::opened::{Opened, open};
use super::summary::summary;
use crate::caption::{Format, caption};
use crate::caption_corpus::caption_corpus;

/// Describe pictures, one line each, or images of a corpus, into its table `captions`
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen caption photo.jpg
  tuwen caption --model model --json *.jpg *.png
  tuwen caption --do-sample --top-p 0.9 --seed 7 photo.jpg
  tuwen caption --corpus corpus --from-sql \"select image_id from examples where split = 'test'\"
  tuwen sql \"select text, caption from captions join examples using (image_id)\"")]
pub(super) struct CaptionArgs {
    /// Picture files
    #[arg(required_unless_present = "from_sql", conflicts_with = "from_sql", value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Caption the corpus's images whose image_id the rows of this query have; those that the model has captioned with the
    /// same settings are left out
    #[arg(long, value_name = "QUERY", allow_hyphen_values = true)]
    from_sql: Option<String>,
    /// Folder or URL of the corpus, with --from-sql
    #[arg(long)]
    corpus: Option<String>,
    /// A checkpoint, a Hugging Face id, or a folder of checkpoints (the newest counts; its `best` is a checkpoint too)
    /// [default: train.out]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// With --from-sql: do not judge how many of the images asked for are left out
    #[arg(long, requires = "from_sql")]
    force: bool,
    #[command(flatten)]
    flags: TrainerFlags,
    #[command(flatten)]
    generate: GenerateArgs,
}

impl CaptionArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let opened = self.open();
        if let Some(query) = &self.from_sql {
            let reported = opened.and_then(|Opened { model, settings, folder }| {
                caption_corpus(&model, &folder.display().to_string(), query, &settings)
            });
            return summary("caption", reported, self.flags.json);
        }
        let Opened { model, settings, .. } = opened?;
        let format = if self.flags.json { Format::Json } else { Format::Lines };
        let mut out = std::io::stdout().lock();
        let unreadable =
            caption(&model, &self.images, &settings.decode, &settings.train, format, &mut out)?;
        Ok(if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }

    fn open(&self) -> Result<Opened> {
        let mut named = Vec::from(self.generate.named());
        named.push(("corpus", self.corpus.clone()));
        let mut opened = open(self.model.as_deref(), self.flags.resolve(&named)?)?;
        opened.forces(self.force);
        Ok(opened)
    }
}
