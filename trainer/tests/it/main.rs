//! The trainer's tests, in one binary because each links libtorch and DataFusion.

mod caption_corpus;
mod equality;
mod generation;
mod run;
