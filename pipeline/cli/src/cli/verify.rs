//! `tuwen verify`: is the corpus whole?

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tuwen_corpus::Corpus;
use tuwen_corpus::maintenance::{Depth, verify};

use crate::cli::flags::CorpusFlags;
use crate::cli::print::print;

/// Check that the corpus is whole: files, rows, keys, audits; exit code 1 if it is not
///
/// Writes nothing. Reads the footer of every file, the keys of every row, and what the audits ask
/// for; with --full every page, and compares pixels and picture files with their checksums.
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen verify
  tuwen verify --full
  tuwen verify --json | jq '.findings[] | {kind, table, n, hint}'")]
pub(super) struct Verify {
    /// Read every page, and compare pixels and picture files with their checksums
    #[arg(long)]
    full: bool,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Verify {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.corpus.settings(Vec::new())?;
        let corpus = Corpus::open_incomplete(&settings.corpus).await?;
        let depth = if self.full { Depth::Pages } else { Depth::Footers };
        let report = Box::pin(verify(&corpus, depth)).await?;
        print(self.json, &report, &report.text())?;
        Ok(if report.whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
