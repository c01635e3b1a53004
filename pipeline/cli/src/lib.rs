//! The command `tuwen`: one file a subcommand, and the benches a person runs on a disk or a corpus.

pub mod bench;

mod export;
mod plot;
mod report;
mod server;
mod sql;

pub mod cli;
