//! One shard. In: its place among those of its split. Out: the names of its files, and where its rows stand until it is written.

use std::path::PathBuf;

use anyhow::Result;
use arrow::array::RecordBatch;

use super::options::Format;
use super::picture::Picture;

/// Writes one shard.
pub(crate) trait ShardWriter {
    /// Writes some rows with their pictures.
    fn write(&mut self, rows: &RecordBatch, pictures: &[Picture]) -> Result<()>;

    /// Ends the shard. Its files, each with the name that it is to get, in that order.
    fn finish(self: Box<Self>) -> Result<Vec<(PathBuf, String)>>;
}

/// A shard that is to be written.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) split: String,
    /// Among those of its split, from 0.
    pub(crate) number: usize,
    /// Shards of its split.
    pub(crate) of: usize,
    pub(crate) n_rows: u64,
    /// Its rows without pictures, in Parquet.
    pub(crate) rows: PathBuf,
}

impl Shard {
    /// The file by which a shard is there, below the export's folder: the last of its files that gets its name.
    pub(crate) fn name(&self, format: Format) -> String {
        let Self { split, number, of, .. } = self;
        match format {
            Format::Webdataset => format!("{split}/{number:05}.tar"),
            Format::Parquet | Format::Huggingface => {
                format!("data/{split}-{number:05}-of-{of:05}.parquet")
            }
        }
    }
}
