//! What went wrong, as a page. In: an error. Out: a status and its text, which `framed` puts into a page of the reader's language, or
//! into a few lines where a script asked for a part of one.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::html;
use tuwen_corpus::log::one_line;
use tuwen_etl::sql::QueryError;

use super::lang::Lang;
use super::layout::bare_page;

/// Why there is no page.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    status: StatusCode,
    said: String,
}

impl Fault {
    /// What the reader asked for cannot be, and why.
    pub(super) fn bad_request(said: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, said: said.into() }
    }

    /// There is no such thing.
    pub(super) fn not_found(said: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, said: said.into() }
    }

    /// The reader may not.
    pub(super) fn forbidden(said: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, said: said.into() }
    }

    /// With another status.
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// What is said of it.
    pub(super) fn said(&self) -> &str {
        &self.said
    }

    /// Whether it is the reader's to mend.
    pub(super) fn is_readers(&self) -> bool {
        self.status.is_client_error()
    }
}

impl From<anyhow::Error> for Fault {
    /// A wrong query is the reader's, anything else ours.
    fn from(error: anyhow::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&anyhow::Error> for Fault {
    fn from(error: &anyhow::Error) -> Self {
        if let Some(error) = error.downcast_ref::<QueryError>() {
            return error.clone().into();
        }
        tracing::warn!("page: {error:#}");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, said: one_line(error) }
    }
}

impl From<QueryError> for Fault {
    fn from(error: QueryError) -> Self {
        Self { status: StatusCode::BAD_REQUEST, said: error.to_string() }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.said.clone()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Puts what went wrong into a page; what axum itself refuses too.
pub(super) async fn framed(request: Request, next: Next) -> Response {
    let lang = Lang::of(request.uri().query(), request.headers());
    let is_part =
        request.uri().query().is_some_and(|query| query.split('&').any(|p| p == "part=1"));
    let response = next.run(request).await;
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    let is_html = response
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !is_refusal || is_html {
        return response;
    }
    let fault = match response.extensions().get::<Fault>() {
        Some(fault) => fault.clone(),
        None => of_axum(status, response).await,
    };
    if is_part {
        let lines = html! { pre.error role="alert" { (fault.said) } };
        return (status, axum::response::Html(lines.into_string())).into_response();
    }
    let title = match status {
        StatusCode::NOT_FOUND => lang.say("There is no such page", "没有这一页"),
        StatusCode::FORBIDDEN => lang.say("Not from there", "不允许从那里访问"),
        _ if status.is_client_error() => lang.say("This cannot be shown", "无法显示"),
        _ => lang.say("Something is wrong with the corpus or the server", "语料或服务器出了问题"),
    };
    let body = html! {
        pre.error role="alert" { (fault.said) }
        p { a href="/" { (lang.say("To the pictures", "回到图片")) } }
    };
    (status, bare_page(lang, title, &body)).into_response()
}

/// What axum says, which is short.
async fn of_axum(status: StatusCode, response: Response) -> Fault {
    const MOST_BYTES: usize = 4096;
    let said = axum::body::to_bytes(response.into_body(), MOST_BYTES).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let said = if said.is_empty() { status.to_string() } else { said };
    Fault { status, said }
}
