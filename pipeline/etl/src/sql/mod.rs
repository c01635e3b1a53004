//! SQL as people ask it. In: statements over the tables and views of a corpus, at any of their versions. Out: their rows. Never
//! writes. `statement.rs` parts and parses a text, `sample.rs` and `params.rs` complete it, `session.rs` plans it over one snapshot
//! with the functions of `functions/`, `predicate.rs` takes a condition by itself, `explain.rs` says what is wrong with it.

use anyhow::Result;
use datafusion::prelude::SessionContext;
use tuwen_corpus::{Rows, Snapshot};
use tuwen_settings::Settings;

mod bounds;
mod error;
mod explain;
mod functions;
mod history;
mod nearest;
mod params;
mod place;
mod predicate;
mod sample;
mod session;
mod sql_type;
mod statement;

pub use crate::read_only::read_only;
pub use bounds::default_memory_bytes;
pub use error::QueryError;
pub use functions::{FUNCTIONS, Function, register_functions, thumbnail, thumbnail_of};
pub(crate) use functions::{picture_udfs, token_udfs_of};
pub use params::Params;
pub use place::Place;
pub use predicate::matching;
pub use session::{CATALOG, Draft, Prepared, SCHEMA, Session};
pub use sql_type::sql_type;
pub use statement::{Statement, is_whole, statements};

/// A session with every table, view and function of the corpus, for queries of a program.
///
/// # Errors
/// A table cannot be read, or the settings name no caption rules.
pub async fn session(snapshot: &Snapshot, settings: &Settings) -> Result<SessionContext> {
    let ctx = snapshot.session(Rows::Light).await?;
    register_functions(&ctx, settings)?;
    crate::read_only::register_views(&ctx).await?;
    Ok(ctx)
}
