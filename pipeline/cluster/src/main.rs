//! `tuwen-cluster`: the scheduler and the executors of a cluster, and the command `tuwen` that computes on one.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use tuwen_corpus::log::{LogFlags, one_line};
use tuwen_corpus::register_clusters;

mod client;
mod codec;
mod connections;
mod engine;
mod executor;
mod failure;
mod job;
mod long_poll;
mod losses;
mod parts;
mod scheduler;
mod session;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The largest message between the parts of a cluster: a plan names each file that it reads.
const MAX_MESSAGE_BYTES: u32 = 256 << 20;

const EXAMPLES: &str = "Examples:
  tuwen-cluster scheduler --bind 0.0.0.0:50050
  tuwen-cluster executor --scheduler scheduler:50050 --bind 0.0.0.0 --host 10.0.0.7 --vcores 8 --memory 24G
  tuwen run a.parquet --tokenizer tokenizer.json --corpus s3://b/c --cluster scheduler:50050

Every command of `tuwen` is one of this program too, and computes on the cluster if --cluster names one.";

/// Runs the stages of tuwen on many machines, by Apache Ballista
#[derive(Parser)]
#[command(name = "tuwen-cluster", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    log: LogFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Scheduler(scheduler::Scheduler),
    Executor(executor::Executor),
}

fn main() -> ExitCode {
    register_clusters(engine::connect);
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        // What is none of ours is a command of tuwen, which says what is wrong with it.
        Err(error) if error.kind() == ErrorKind::InvalidSubcommand => {
            let code = tuwen::cli::main_of(&arguments);
            job::settle();
            return code;
        }
        Err(error) => error.exit(),
    };
    cli.log.init();
    let ended = match cli.command {
        Command::Scheduler(command) => block_on(command.serve()),
        Command::Executor(command) => block_on(command.serve()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", one_line(&error));
            tuwen::cli::of_error(&error)
        }
    }
}

fn block_on(command: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting the async runtime")?;
    let ended = runtime.block_on(command);
    runtime.shutdown_background();
    ended
}
