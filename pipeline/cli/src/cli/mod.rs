//! The command line: flags as typed, one file a subcommand. In: arguments. Out: settings in force and a call of the library.
//! stdout carries data only; everything else goes to stderr.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::log::{LogFlags, one_line};
use tuwen_corpus::register_clusters;
use tuwen_etl::stop::without_signals;
use tuwen_settings::WrongSetting;

pub use self::bytes::parse_bytes;
pub use self::exit::{of_error, reports};
pub use self::hold::Ended;
use self::print::print_text;

pub(crate) mod age;
mod bench;
mod bytes;
mod cluster;
mod config;
mod curate;
mod decode;
mod exit;
mod export;
mod fetch;
mod flags;
mod hand_over;
mod history;
mod hold;
mod migrate;
mod optimize;
mod print;
mod repair;
mod report;
mod run;
mod serve;
mod sql;
mod trainer;
mod vacuum;
mod verify;

const EXAMPLES: &str = "Examples:
  tuwen run train.csv test.csv --tokenizer tokenizer.json
  tuwen run train.csv --image-dir images --corpus /data/corpus --tokenizer tokenizer.json
  tuwen sql \"select split, reject_reason, count(*) from examples group by all\"
  tuwen train --preset tiny --tokenizer tokenizer.json --out model
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
    Report(report::Report),
    Serve(serve::Serve),
    Export(export::Export),
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
    register_clusters(cluster::become_cluster);
    main_of(&std::env::args_os().collect::<Vec<_>>())
}

/// As [`main`], of `arguments`, the first of which is the command's own name.
pub fn main_of(arguments: &[OsString]) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    cli.log.init();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            // All commands that have a summary have this flag.
            if arguments.iter().any(|arg| arg == "--json") {
                let report = json!({ "stages": exit::reports(&error), "error": one_line(&error) });
                // Nobody is left to be told that stdout is closed.
                let _ = print_text(&report.to_string());
            }
            tracing::error!("{}", one_line(&error));
            exit::of_error(&error)
        }
    }
}

/// The stages of `tuwen run`, `fetch`, `decode` or `curate`, of `arguments` as the command has them, for a program that wants their
/// reports: nothing is printed to stdout, and signals are left to the program, whose `stop` ends the stages after the chunk under way.
///
/// # Errors
/// Those of the command, whose code [`of_error`] says, and with what was run before them in [`reports`].
pub fn stages_of(arguments: &[OsString], stop: CancellationToken) -> Result<Ended> {
    let cli = Cli::try_parse_from(arguments).map_err(|error| {
        let said = error.to_string();
        WrongSetting(said.trim_start_matches("error: ").trim_end().to_owned())
    })?;
    cli.log.init();
    match cli.command {
        Command::Run(command) => block_on(without_signals(stop, command.run())),
        Command::Fetch(command) => block_on(without_signals(stop, command.run())),
        Command::Decode(command) => block_on(without_signals(stop, command.run())),
        Command::Curate(command) => block_on(without_signals(stop, command.run())),
        _ => bail!("expected run, fetch, decode or curate"),
    }
}

impl Cli {
    fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Trainer(command) => command.run(self.log),
            Command::Config(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Run(command) => block_on(command.run())?.print(),
            Command::Fetch(command) => block_on(command.run())?.print(),
            Command::Decode(command) => block_on(command.run())?.print(),
            Command::Curate(command) => block_on(command.run())?.print(),
            Command::Sql(command) => block_on(command.run()),
            Command::Report(command) => block_on(command.run()),
            Command::Serve(command) => block_on(command.run()),
            Command::Export(command) => block_on(command.run()),
            Command::History(command) => block_on(command.run()),
            Command::Verify(command) => block_on(command.run()),
            Command::Repair(command) => block_on(command.run()),
            Command::Optimize(command) => block_on(command.run()),
            Command::Vacuum(command) => block_on(command.run()),
            Command::Migrate(command) => block_on(command.run()),
        }
    }
}

fn block_on<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Runtime::new().context("starting the async runtime")?;
    let result = runtime.block_on(command);
    // Work on blocking threads (a name look-up, say) must not hold up the end.
    runtime.shutdown_background();
    result
}
