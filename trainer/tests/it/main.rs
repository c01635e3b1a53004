//! The trainer's tests, in one binary because each links libtorch and DataFusion.

mod equality;
mod metrics;
mod python;
mod run;
