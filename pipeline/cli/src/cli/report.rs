//! `tuwen report`: what a corpus holds, as a page or a card.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use tuwen_corpus::Corpus;
use tuwen_etl::sql::{Session, default_memory_bytes};
use tuwen_settings::WrongSetting;

use crate::cli::flags::CorpusFlags;
use crate::report::{Options, collect, html, markdown};
use crate::sql::target::Target;

/// Tell what a corpus holds: what came in, what was kept and why the rest was not, with plots and pictures
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen report -o report.html
  tuwen report -o README.md --markdown
  tuwen report --corpus s3://bucket/corpus --pictures 0 > report.html")]
pub(super) struct Report {
    /// The file, which is there when it is whole; its name ends in .html or .md [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A Markdown data card, as Hugging Face shows it, instead of HTML [default: by the name of --output]
    #[arg(long)]
    markdown: bool,
    /// Pictures shown of each split, reason and group; 0: none
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(0..=200))]
    pictures: u16,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Report {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let ending = self.output.as_deref().and_then(Path::extension);
        let ending = ending.map(|ending| ending.to_ascii_lowercase());
        let is_markdown = match ending.as_ref().and_then(|ending| ending.to_str()) {
            Some("md") => true,
            Some("html" | "htm") if !self.markdown => false,
            None if self.output.is_none() => self.markdown,
            _ => {
                let said = "-o: expected a name that ends in .html, or .md for a Markdown card";
                return Err(WrongSetting(said.to_owned()).into());
            }
        };
        let settings = self.corpus.settings(Vec::new())?;
        let (_, snapshot) = Corpus::open_snapshot(&settings.corpus).await?;
        let session = Session::new(snapshot, &settings, default_memory_bytes())?;
        let options = Options { pictures: self.pictures.into(), groups: 6, gates: Some(&settings) };
        let report = Box::pin(collect(&session, &options)).await?;
        let text = if is_markdown { markdown(&report) } else { html(&report) };
        let mut target = match &self.output {
            Some(name) => Target::file(name)?,
            None => Target::stdout(),
        };
        let written = target.out()?.write_all(text.as_bytes()).context("writing the report");
        // A reader that has seen enough (`| head`) is no failure.
        target.finish(written)?;
        Ok(ExitCode::SUCCESS)
    }
}
