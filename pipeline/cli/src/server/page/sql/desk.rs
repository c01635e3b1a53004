//! Where queries of a reader run, and who may have one run. In: headers of a request. Out: whether it is asked here.

use std::sync::Arc;

use axum::http::HeaderMap;

use crate::server::Served;
use crate::server::queries::Queries;

/// Where queries are asked.
pub(crate) struct Desk {
    pub(crate) served: Arc<Served>,
    pub(crate) queries: Arc<Queries>,
}

/// Whether this page, its reader, or a program asks. A query that stands in a link of another site is shown, and not run: it may be
/// one that keeps this machine busy.
pub(super) fn is_asked_here(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    matches!(site, None | Some(b"same-origin" | b"none"))
}
