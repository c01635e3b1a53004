//! Where queries of a reader run.

use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::server::Served;
use crate::server::queries::Queries;
use crate::sql::words::Words;

/// Where queries are asked.
pub(crate) struct Desk {
    pub(crate) served: Arc<Served>,
    pub(crate) queries: Arc<Queries>,
    /// What completes names: those of tables, columns and functions, which are the same at every version.
    pub(super) words: OnceCell<Words>,
}

impl Desk {
    pub(in crate::server::page) fn new(served: Arc<Served>, queries: Arc<Queries>) -> Self {
        Self { served, queries, words: OnceCell::new() }
    }
}
