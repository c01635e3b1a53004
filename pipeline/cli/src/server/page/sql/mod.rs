//! The box of SQL. In: a query in the URL, so that it can be shared, with values for its parameters. Out: a page with its rows, or
//! with what is wrong; the same rows as a file. `ask.rs` is what the URL says, `answer.rs` runs it within bounds, `show.rs` is the
//! page, `download.rs` the file, `saved.rs` has queries to begin with. Everything works without the script `sql.js`, which completes
//! names and remembers queries.

mod answer;
mod ask;
mod download;
mod saved;
mod show;

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};

use self::ask::Ask;
use super::fault::Fault;
use super::lang::Lang;
use crate::server::Served;
use crate::sql::words::Words;

const SCRIPT: &str = include_str!("sql.js");

/// Bytes of a line that is completed: no name is longer.
const MOST_LINE: usize = 4096;

/// The pages of the box.
pub(super) fn router(served: Arc<Served>) -> Router {
    Router::new()
        .route("/sql", get(page))
        .route("/sql/download", get(download::download))
        .route("/sql/complete", get(complete))
        .route(&script_path(), get(script))
        .with_state(served)
}

async fn page(
    State(served): State<Arc<Served>>,
    lang: Lang,
    headers: HeaderMap,
    Query(values): Query<Vec<(String, String)>>,
) -> Response {
    let ask = Ask::of(values);
    let answered = answer::answer(&served, &ask, is_asked_here(&headers)).await;
    show::show(&ask, &answered, lang)
}

/// Whether this page, its reader, or a program asks. A query that stands in a link of another site is shown, and not run: it may be
/// one that keeps this machine busy.
fn is_asked_here(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    matches!(site, None | Some(b"same-origin" | b"none"))
}

#[derive(Deserialize)]
struct Line {
    line: String,
}

/// What the last word of a line may become, and how much of the line that word is, in units of UTF-16 as scripts count.
#[derive(Serialize)]
struct Completion {
    replaces: usize,
    words: Vec<String>,
}

/// `/sql/complete?line=…`: as the shell does at Tab.
async fn complete(
    State(served): State<Arc<Served>>,
    Query(Line { line }): Query<Line>,
) -> Result<Response, Fault> {
    let session = served.session().await?;
    let from = line.len().saturating_sub(MOST_LINE);
    let line = &line[line.ceil_char_boundary(from)..];
    let (start, words) = Words::of(&session).complete(line);
    let found = Completion { replaces: line[start..].encode_utf16().count(), words };
    let json = serde_json::to_string(&found).context("writing JSON")?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

/// The script under a name of its own text, so that a browser may keep it for ever.
fn script_path() -> String {
    format!("/static/sql.{:08x}.js", crc32fast::hash(SCRIPT.as_bytes()))
}

async fn script() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, SCRIPT)
}
