//! Keeping a corpus whole. In: a corpus, and what an operator asks for. Out: a report, and with
//! all commands but [`verify`] a corpus that is changed: in its files, its log or its properties,
//! never in rows that are good.
//!
//! The modules, each of which only uses those before it: [`store_file`] reads one Parquet file,
//! [`live`] says which files a table has and which lie in its folder, [`delta_log`] reads and writes
//! commits, [`health`] finds out what is wrong with files, [`keys`] which rows are one too many,
//! [`rewrite`] writes files anew. Then the commands, a file each.

mod delta_log;
mod health;
mod keys;
mod live;
mod rewrite;
mod store_file;

pub mod history;
pub mod migrate;
pub mod optimize;
pub mod repair;
pub mod vacuum;
pub mod verify;

mod bins;
mod curated;
mod findings;
mod pins;
mod repair_report;
mod repair_rows;
mod verdict;

pub use findings::{Finding, Kind, Note, Orphans, TableState, VerifyReport};
pub use history::{PastRun, history};
pub use migrate::{Migration, migrate, migrations};
pub use optimize::{OptimizeReport, OptimizedTable, foreign_layout, optimize};
pub use pins::{CHECKPOINT_PREFIX, Pin, STATE_FILE, pins_of};
pub use repair::{Repairs, repair};
pub use repair_report::{RepairReport, RepairedTable};
pub(crate) use store_file::StoreFile;
pub use vacuum::{VacuumOptions, VacuumReport, VacuumedTable, vacuum};
pub use verify::verify;

/// How thoroughly files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Their footers.
    Footers,
    /// All their pages; pixels and picture files are compared with their checksums.
    Pages,
}
