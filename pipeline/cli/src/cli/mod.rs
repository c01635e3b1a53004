//! The command line: flags as typed, one file a subcommand. In: arguments. Out: settings in force and a call of the library.
//! stdout carries data only; everything else goes to stderr.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tuwen_corpus::log::LogFlags;
use tuwen_corpus::report::Outcome;
use tuwen_etl::driver::StageFailed;
use tuwen_settings::{Resolved, Settings, resolve_command};

use self::hold::{CORPUS_HELD, CorpusHeld, GATE_RED};

mod age;
mod bench;
mod config;
mod curate;
mod decode;
mod fetch;
mod history;
mod hold;
mod migrate;
mod optimize;
mod print;
mod repair;
mod run;
mod sql;
mod trainer;
mod vacuum;
mod verify;

const EXAMPLES: &str = "Examples:
  tuwen run train.csv test.csv --tokenizer tokenizer.json
  tuwen run train.csv --image-dir bigdata/image_data --corpus /data/corpus --tokenizer tokenizer.json
  tuwen sql \"select split, reject_reason, count(*) from examples group by all\"
  tuwen train --preset tiny --out model
  tuwen caption --model model photo.jpg";

/// Turns a crawl of (caption, image URL) rows into a clean, SQL-queryable corpus with decoded pixels, and trains a captioner
/// on it.
#[derive(Parser)]
#[command(name = "tuwen", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    log: LogFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Fetch(fetch::Fetch),
    Decode(decode::Decode),
    Curate(curate::Curate),
    Sql(sql::Sql),
    History(history::History),
    Verify(verify::Verify),
    Repair(repair::Repair),
    Optimize(optimize::Optimize),
    Vacuum(vacuum::Vacuum),
    Migrate(migrate::Migrate),
    Config(config::Config),
    Bench(bench::Bench),
    #[command(flatten)]
    Trainer(trainer::Trainer),
}

/// The `tuwen` command. It stands in the library, so that the binary has nothing to compile: async code is compiled anew in
/// each crate that polls it.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.log.init();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            if error.is::<CorpusHeld>() {
                ExitCode::from(CORPUS_HELD)
            } else if is_red_gate(&error) {
                ExitCode::from(GATE_RED)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

impl Cli {
    fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Trainer(command) => command.run(),
            Command::Config(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Run(command) => block_on(command.run()),
            Command::Fetch(command) => block_on(command.run()),
            Command::Decode(command) => block_on(command.run()),
            Command::Curate(command) => block_on(command.run()),
            Command::Sql(command) => block_on(command.run()),
            Command::History(command) => block_on(command.run()),
            Command::Verify(command) => block_on(command.run()),
            Command::Repair(command) => block_on(command.run()),
            Command::Optimize(command) => block_on(command.run()),
            Command::Vacuum(command) => block_on(command.run()),
            Command::Migrate(command) => block_on(command.run()),
        }
    }
}

fn block_on(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("starting the async runtime")?;
    let result = runtime.block_on(command);
    // Work on blocking threads (a name look-up, say) must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Flags every command has.
#[derive(Args)]
struct Common {
    /// Folder or URL of the corpus [default: corpus]
    #[arg(long, value_name = "DIR")]
    corpus: Option<String>,
    /// Settings file [default: tuwen.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "TUWEN_CONFIG")]
    config: Option<PathBuf>,
    /// A setting by its key, as `tuwen config` lists them; can be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Common {
    /// The settings in force, with `flags` (dotted key, value) of the command on top.
    fn resolve(&self, mut flags: Vec<(&str, Option<String>)>) -> Result<Resolved> {
        flags.push(("corpus", self.corpus.clone()));
        resolve_command(self.config.as_deref(), &self.set, &flags)
    }

    fn settings(&self, flags: Vec<(&str, Option<String>)>) -> Result<Settings> {
        Ok(self.resolve(flags)?.settings)
    }
}

fn flag(given: bool) -> Option<String> {
    given.then(|| "true".to_owned())
}

fn path(given: &Option<PathBuf>) -> Option<String> {
    given.as_ref().map(|path| path.display().to_string())
}

fn is_red_gate(error: &anyhow::Error) -> bool {
    let failed = error.downcast_ref::<StageFailed>();
    failed.is_some_and(|failed| failed.report.outcome == Outcome::Gate)
}

/// An error with its causes on one line; `hint:` lines stay lines of their own.
fn one_line(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Libraries repeat a cause in their own text.
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}
