//! A corpus: one folder of Delta tables. Where it lies, how its tables are opened, checked and committed to, how they lie in
//! Parquet, and what each run did. Never knows what a stage does with them.

mod append;
mod at;
mod audits;
mod commit;
mod contract;
mod corpus;
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
pub mod query;
pub mod report;
mod row_file;
mod runs;
mod scratch;
mod session;
mod shared;
mod snapshot;
pub mod step;
mod write;

pub use append::Appended;
pub use at::CommitRow;
pub use audits::{AUDITS, audit};
pub use commit::{Author, Change, Committed};
pub use corpus::Corpus;
pub use files::{NewFiles, TableSize};
pub use host::registered_domain;
pub use last_run::LastRun;
pub use lease::{Asked, Holder, Lease};
pub use row_file::{ListedFile, RowFile};
pub use runs::Run;
pub use scratch::Scratch;
pub use session::{Rows, asking_session, bare_session, seeking_session, spilling_session};
pub use snapshot::{Snapshot, TableVersions};
pub use write::Files;
