//! Where queries of a reader run.

use std::sync::Arc;

use crate::server::Served;
use crate::server::queries::Queries;

/// Where queries are asked.
pub(crate) struct Desk {
    pub(crate) served: Arc<Served>,
    pub(crate) queries: Arc<Queries>,
}
