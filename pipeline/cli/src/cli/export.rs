//! `tuwen export`: the pairs of a corpus as others read them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use tuwen_corpus::Corpus;
use tuwen_corpus::location::{local_folder, root_url};
use tuwen_corpus::report::Outcome;
use tuwen_etl::exit_code::INTERRUPTED;
use tuwen_etl::stop::stop_signals;
use tuwen_settings::{Split, WrongSetting};

use crate::cli::bytes::parse_bytes;
use crate::cli::flags::CorpusFlags;
use crate::cli::print::print;
use crate::export::{COLUMNS, Format, Options, Pictures, export};

/// Most threads if nothing else is asked for: a disk has enough of them.
const MOST_THREADS: usize = 8;

/// Write the pairs of a corpus for others: WebDataset, Parquet, or a data set of Hugging Face
#[derive(Args)]
#[command(after_help = "Examples:
  tuwen export --format webdataset -o shards
  tuwen export --format huggingface -o dataset
  tuwen export --format parquet -o pairs --columns text,url,width,height
  tuwen export --format huggingface -o squares --pictures decoded --split validation,test
  tuwen export --format webdataset -o large --where \"width >= 256 and height >= 256\" --shard-rows 5000

The same command resumes an export that was stopped. What was exported stands in tuwen-export.json and README.md.")]
pub(super) struct Export {
    /// How it is written
    #[arg(long, value_enum)]
    format: Format,
    /// The folder; it is made, or is an export that was stopped
    #[arg(short, long, value_name = "DIR")]
    output: String,
    /// Only examples for which this SQL condition is true, over columns of the pair, the example and its image
    #[arg(long = "where", value_name = "CONDITION")]
    predicate: Option<String>,
    /// Only these splits [default: all]
    #[arg(long, value_name = "SPLIT", value_delimiter = ',', value_parser = split)]
    split: Vec<Split>,
    /// Which pictures
    #[arg(long, value_enum, default_value = "original")]
    pictures: Pictures,
    /// Columns beside the picture, of Parquet and Hugging Face [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = column)]
    columns: Vec<String>,
    /// Most rows of a shard [default: 10000 in WebDataset, otherwise 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    shard_rows: Option<u64>,
    /// Most bytes of pictures of a shard, such as 512M [default: 1G in WebDataset, otherwise 500M]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    shard_bytes: Option<u64>,
    /// Shards that are written at once [default: the cores, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    corpus: CorpusFlags,
}

impl Export {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let folder = folder(&self.output)?;
        let is_tar = self.format == Format::Webdataset;
        if is_tar && !self.columns.is_empty() {
            let said = "--columns: expected --format parquet or huggingface, found webdataset";
            return Err(WrongSetting(said.to_owned()).into());
        }
        let splits = Split::ALL.into_iter();
        let splits = splits.filter(|split| self.split.is_empty() || self.split.contains(split));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let options = Options {
            folder,
            format: self.format,
            pictures: self.pictures,
            predicate: self.predicate,
            splits: splits.collect(),
            columns: in_order(&self.columns),
            shard_rows: self.shard_rows.unwrap_or(self.format.shard_rows()),
            shard_bytes: self.shard_bytes.unwrap_or(self.format.shard_bytes()),
            threads: self.threads.map_or(cores.min(MOST_THREADS), usize::from),
        };
        let settings = self.corpus.settings(Vec::new())?;
        let (_, snapshot) = Corpus::open_snapshot(&settings.corpus).await?;
        let stop = stop_signals()?;
        let summary = Box::pin(export(snapshot, &settings, options, &stop)).await?;
        print(self.json, &serde_json::json!({ "export": summary }), &summary.text())?;
        if summary.outcome == Outcome::Interrupted {
            tracing::warn!(
                "interrupted: shards that are whole stay, the same command does the rest"
            );
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The folder that `-o` names, which must be one of this machine: a file gets its name there by being renamed.
fn folder(output: &str) -> Result<PathBuf> {
    if !output.contains("://") {
        return Ok(PathBuf::from(output));
    }
    let folder = output.starts_with("file://").then(|| root_url(output)).transpose();
    let folder = folder.context("-o")?.and_then(|url| local_folder(&url));
    let said = "expected a folder of this machine\n\
                hint: export to one, then copy it with the tool of the store";
    folder.ok_or_else(|| WrongSetting(format!("-o {output}: {said}")).into())
}

fn split(name: &str) -> Result<Split, String> {
    let known = Split::ALL.into_iter().find(|split| split.name() == name);
    known.ok_or_else(|| format!("expected train, validation or test, found `{name}`"))
}

fn column(name: &str) -> Result<String, String> {
    let is_known = COLUMNS.iter().any(|(column, _)| *column == name);
    let names = || COLUMNS.map(|(column, _)| column).join(", ");
    if is_known { Ok(name.to_owned()) } else { Err(format!("expected some of {}", names())) }
}

/// In the order in which they are written, each once: that of the flag does not matter.
fn in_order(asked: &[String]) -> Vec<String> {
    let names = COLUMNS.iter().map(|(name, _)| (*name).to_owned());
    names.filter(|name| asked.contains(name)).collect()
}
