//! Makes corpora that are as large and as mixed as a crawl's, for `benches/growth.py`, which measures what curation and nightly runs
//! cost as they grow. In: a number of rows and a seed. Out: `make` writes pairs, originals and images, and prints one JSON object;
//! `serve` writes a CSV of new rows and answers for their pictures on 127.0.0.1. Never measures anything itself.
//!
//! What such a corpus is: rows, URLs, captions, repetitions, failures and hashes in the proportions of a crawl, committed in chunks
//! as the stages commit them, in tuwen's own files. What it is not: pictures. An original is 20 bytes, a stored square 8 px wide,
//! and its thumbnail and look are drawn, not worked out from it; curation reads no more of an image than that.
//! Same seed, same rows in the same order; only the names of the files differ.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use crate::crawl::Crawl;
use crate::looks::Looks;

mod caption;
mod crawl;
mod looks;
mod make;
mod random;
mod serve;

#[derive(Parser)]
enum Command {
    /// Writes the corpus of a crawl, without examples.
    Make {
        /// Rows of the crawl.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1_000..))]
        pairs: u64,
        /// The folder, which must not be there yet.
        #[arg(long)]
        out: PathBuf,
        /// 40 % of the pictures are smooth, on plain grounds: much the same to who looks for near-identical ones.
        #[arg(long)]
        skewed: bool,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Writes a CSV of new rows and serves their pictures until stdin is closed.
    Serve {
        #[arg(long)]
        rows: u64,
        #[arg(long)]
        csv: PathBuf,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Make { pairs, out, skewed, seed } => {
            let looks = if skewed { Looks::Skewed } else { Looks::Photos };
            let made = make::make(&Crawl { seed, n_rows: pairs, looks }, &out)?;
            writeln!(std::io::stdout(), "{made}")?;
            Ok(())
        }
        Command::Serve { rows, csv, seed } => serve::serve(rows, &csv, seed),
    }
}
