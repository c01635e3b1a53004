//! A cluster on loopback, a scheduler and executors as processes of their own, against the same command without one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crawl;
mod faults;
mod manifests;
mod politeness;
mod processes;
mod progress;
mod python;
mod s3;
mod same;
