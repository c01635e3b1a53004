//! One binary for all of the pipeline's integration tests: each binary would link DataFusion again.

mod cli;
mod corpus;
mod decode;
mod server;
mod slt;
mod stream;
