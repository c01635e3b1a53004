//! `tuwen sql`: one read-only query.

use std::io::{BufWriter, ErrorKind, Write, stdout};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tuwen_corpus::Corpus;
use tuwen_etl::sql::{Format, run, session};

use crate::cli::flags::CorpusFlags;

/// Query the tables (pairs, originals, images, examples, captions, runs) and views (rejects)
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen sql \"select split, count(*) from examples group by split\"
  tuwen sql \"select reason, count(*) as n from rejects group by reason order by n desc\" --format csv
  tuwen sql \"describe images\"
  tuwen sql \"select text, caption from captions join examples using (image_id) limit 9\"
  tuwen sql \"$(cat sql/queries/formats.sql)\"")]
pub(super) struct Sql {
    /// The query; it may begin with a comment
    #[arg(allow_hyphen_values = true)]
    query: String,
    /// How rows are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Sql {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let settings = self.corpus.settings(Vec::new())?;
        let (_, snapshot) = Corpus::open_snapshot(&settings.corpus).await?;
        let ctx = session(&snapshot, &settings).await?;
        let mut out = BufWriter::new(stdout().lock());
        let result = match run(&ctx, &self.query, self.format, &mut out).await {
            Ok(()) => out.flush().map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        match result {
            // A reader that has seen enough (`| head`) is no failure.
            Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
            result => result.map(|()| ExitCode::SUCCESS),
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
            || cause.to_string().contains("Broken pipe")
    })
}
