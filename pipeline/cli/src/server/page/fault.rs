//! A page that says what went wrong. In: an error. Out: a status and its text.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tuwen_corpus::log::one_line;
use tuwen_etl::sql::QueryError;

/// Why there is no page.
pub(super) struct Fault {
    status: StatusCode,
    said: String,
}

impl From<anyhow::Error> for Fault {
    /// A wrong query is the reader's, anything else ours.
    fn from(error: anyhow::Error) -> Self {
        let status = match error.is::<QueryError>() {
            true => StatusCode::BAD_REQUEST,
            false => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, said: one_line(&error) }
    }
}

impl From<QueryError> for Fault {
    fn from(error: QueryError) -> Self {
        Self { status: StatusCode::BAD_REQUEST, said: error.to_string() }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.status, self.said).into_response()
    }
}
