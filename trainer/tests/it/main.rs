//! The trainer's tests, in one binary because each links libtorch and DataFusion.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod caption_corpus;
mod docs;
mod equality;
mod folders;
mod generation;
mod metrics;
mod python;
mod ranks;
mod run;
mod score_corpus;
