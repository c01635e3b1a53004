//! What is asked of an export. In: flags. Out: typed options. Never looks at a corpus.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tuwen_settings::Split;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Tar files as img2dataset makes them: SPLIT/00000.tar, .parquet, _stats.json
    Webdataset,
    /// One row a pair, the picture as bytes: data/SPLIT-00000-of-00001.parquet
    Parquet,
    /// The same with pictures as `Image`, for datasets.load_dataset
    Huggingface,
}

/// Which pictures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pictures {
    /// The files as they were fetched
    Original,
    /// The squares that a trainer sees, as lossless PNG
    Decoded,
}

impl Format {
    /// Most rows of a shard if nothing else is asked for: what img2dataset puts into one; Parquet is bounded by bytes.
    pub(crate) fn shard_rows(self) -> u64 {
        match self {
            Self::Webdataset => 10_000,
            Self::Parquet | Self::Huggingface => 100_000,
        }
    }

    /// Most bytes of pictures of a shard if nothing else is asked for: what the hub asks for, and what both read well.
    pub(crate) fn shard_bytes(self) -> u64 {
        match self {
            Self::Webdataset => 1 << 30,
            Self::Parquet | Self::Huggingface => 500 << 20,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The folder that is written.
    pub(crate) folder: PathBuf,
    pub(crate) format: Format,
    pub(crate) pictures: Pictures,
    /// A condition of SQL.
    pub(crate) predicate: Option<String>,
    pub(crate) splits: Vec<Split>,
    /// Columns of Parquet beside the picture; all if none are named.
    pub(crate) columns: Vec<String>,
    pub(crate) shard_rows: u64,
    pub(crate) shard_bytes: u64,
    /// Shards that are written at once.
    pub(crate) threads: usize,
}
