//! One binary for all of the pipeline's integration tests: each binary would link DataFusion again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli;
mod corpus;
mod decode;
mod decode_again;
mod dependencies;
mod docs;
mod export;
mod fetch;
mod growth;
mod house;
mod ingest;
mod lost_answers;
mod maintenance;
mod near_groups;
mod of_0_1_0;
mod paths;
mod python;
mod races;
mod report;
mod s3;
mod serve_explore;
mod serve_flight;
mod serve_page;
mod server;
mod slt;
mod splits;
mod sql_shell;
mod stream;
