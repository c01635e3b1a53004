//! The trainer's tests, in one binary because each links libtorch and DataFusion.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod caption_corpus;
mod docs;
mod equality;
mod generation;
mod metrics;
mod python;
mod run;
mod score_corpus;
