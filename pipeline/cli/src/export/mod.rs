//! A corpus for others: its pairs as shards of WebDataset, Parquet or a data set of Hugging Face. In: one snapshot, and what is asked
//! for. Out: a folder in which what can be seen is whole, the same bytes whenever it is made. Never writes to the corpus.
//!
//! `run.rs` has the whole way: `rows.rs` asks SQL which pairs, in the order in which their pictures lie, and parts them into shards
//! (`shard.rs`); threads take shards (`worker.rs`), read their pictures (`picture.rs`) and write them (`webdataset.rs`, `parquet.rs`, with the
//! columns of `columns.rs`); `folder.rs` puts them in their places under the `plan.rs` of the export; `card.rs` tells what it holds.

mod card;
mod columns;
mod folder;
mod options;
mod parquet;
mod picture;
mod plan;
mod rows;
mod run;
mod shard;
mod summary;
mod webdataset;
mod worker;

pub(crate) use columns::COLUMNS;
pub(crate) use options::{Format, Options, Pictures};
pub(crate) use run::export;
