//! A corpus: one folder of Delta tables. Where it lies, how its tables are opened, checked and committed to, how they lie in
//! Parquet, and what each run did. Never knows what a stage does with them.

mod append;
mod audits;
mod commit;
mod contract;
mod corpus;
mod engine;
mod file_table;
mod files;
mod host;
pub mod id;
mod keys;
mod last_run;
pub mod layout;
mod lease;
pub mod location;
pub mod log;
pub mod maintenance;
mod open;
mod past_versions;
mod pictures;
mod plain_files;
pub mod query;
pub mod report;
mod row_file;
mod runs;
mod scratch;
mod scratch_file;
mod session;
mod shared;
mod sink;
mod snapshot;
pub mod step;
mod stores;
mod table_files;
mod write;

pub use append::Appended;
pub use audits::{AUDITS, audit, first_rows};
pub use commit::{Author, Change, Committed};
pub use corpus::Corpus;
pub use engine::{
    Cancelled, Connect, Engine, Here, Parts, ShowParts, as_datafusion, collect, engine_at, planned,
    register_clusters,
};
pub use files::{NewFiles, TableSize};
pub use host::registered_domain;
pub use last_run::LastRun;
pub use lease::{Asked, Holder, Lease};
pub use past_versions::CommitRow;
pub use pictures::{PictureFiles, PictureReader};
pub use plain_files::{PlainFile, plain_files};
pub use row_file::RowFile;
pub use runs::Run;
pub use scratch::{Mark, OwnFolder, Scratch};
pub use session::{Rows, asking_session, bare_session, seeking_session, spilling_session};
pub use sink::{Sink, SinkExec};
pub use snapshot::{Snapshot, TableVersions};
pub use stores::{AnyStore, any_store_session};
pub use table_files::Files;
