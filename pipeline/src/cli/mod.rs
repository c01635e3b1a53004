//! The command line: flags as typed, one file a subcommand. In: arguments. Out: settings in force and a call of the library.
//! stdout carries data only; everything else goes to stderr.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::report::StageReport;
use crate::settings::{Resolved, Settings, resolve};
use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand};

mod bench;
mod config;
mod curate;
mod decode;
mod fetch;
mod run;
mod sql;
mod trainer;

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
    Config(config::Config),
    Bench(bench::Bench),
    #[command(flatten)]
    Trainer(trainer::Trainer),
}

/// The `tuwen` command. It stands in the library, so that the binary has nothing to compile: async code is compiled anew in
/// each crate that polls it.
pub fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", one_line(&error));
            ExitCode::FAILURE
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
    fn resolve(&self, flags: Vec<(&str, Option<String>)>) -> Result<Resolved> {
        let mut all = Vec::new();
        for pair in &self.set {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| anyhow!("--set {pair}: expected KEY=VALUE, found no `=`"))?;
            all.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        let flags = flags.into_iter().chain([("corpus", self.corpus.clone())]);
        all.extend(flags.filter_map(|(key, value)| Some((key.to_owned(), value?))));
        resolve(self.config.as_deref(), &all)
    }

    fn settings(&self, flags: Vec<(&str, Option<String>)>) -> Result<Settings> {
        Ok(self.resolve(flags)?.settings)
    }
}

/// How a stage's summary is printed.
#[derive(Args)]
struct Output {
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Prints the summary to stdout; exit code 2 if a stage rejected more than the settings allow.
    #[expect(clippy::print_stdout, reason = "the summary is this command's output")]
    fn report(&self, reports: &[StageReport], settings: &Settings) -> Result<ExitCode> {
        if self.json {
            println!("{}", crate::report::json(reports)?);
        } else {
            println!("{}", crate::report::table(reports));
        }
        let mut code = ExitCode::SUCCESS;
        for report in reports {
            let percent = 100.0 * report.n_rejected() as f64 / report.rows_in.max(1) as f64;
            if percent > settings.max_rejected_percent {
                eprintln!(
                    "{}: {percent:.1} % of {} rows were rejected, max_rejected_percent is {}\n\
                     hint: tuwen sql \"select stage, reason, count(*) from rejects group by all\"",
                    report.stage, report.rows_in, settings.max_rejected_percent
                );
                code = ExitCode::from(2);
            }
        }
        Ok(code)
    }
}

fn flag(given: bool) -> Option<String> {
    given.then(|| "true".to_owned())
}

fn path(given: &Option<PathBuf>) -> Option<String> {
    given.as_ref().map(|path| path.display().to_string())
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
