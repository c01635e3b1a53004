//! The box of SQL. In: a query in the URL, so that it can be shared, with values for its parameters. Out: a page with its rows, or
//! with what is wrong; the same rows as a file. `ask.rs` is what the URL says, `answer.rs` runs it within bounds, `show.rs` is the
//! page, `download.rs` the file, `saved.rs` has queries to begin with, `desk.rs` is where they run. Everything works without the script `sql.js`, which completes
//! names and remembers queries.

mod answer;
mod ask;
mod desk;
mod download;
mod saved;
mod show;

use std::sync::Arc;

use anyhow::Context;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use self::ask::Ask;
pub(super) use self::desk::Desk;
use super::fault::Fault;
use super::guard::is_asked_here;
use super::lang::Lang;
use crate::sql::words::Words;

/// Bytes of a line that is completed: no name is longer.
const MOST_LINE: usize = 4096;

/// `/sql`.
pub(super) async fn page(
    State(desk): State<Arc<Desk>>,
    lang: Lang,
    headers: HeaderMap,
    Query(values): Query<Vec<(String, String)>>,
) -> Response {
    let ask = Ask::of(values);
    let answered = answer::answer(&desk, &ask, is_asked_here(&headers)).await;
    show::show(&ask, &answered, lang)
}

/// `/sql/download`.
pub(super) async fn download(
    desk: State<Arc<Desk>>,
    headers: HeaderMap,
    values: Query<Vec<(String, String)>>,
) -> Result<Response, Fault> {
    download::download(desk, headers, values).await
}

#[derive(Deserialize)]
pub(super) struct Line {
    line: String,
}

/// What the last word of a line may become, and how much of the line that word is, in units of UTF-16 as scripts count.
#[derive(Serialize)]
struct Completion {
    replaces: usize,
    words: Vec<String>,
}

/// `/sql/complete?line=…`: as the shell does at Tab.
pub(super) async fn complete(
    State(desk): State<Arc<Desk>>,
    Query(Line { line }): Query<Line>,
) -> Result<Response, Fault> {
    let words = desk.words.get_or_try_init(|| async {
        let session = desk.served.session().await?;
        Words::of(&session).await
    });
    let from = line.len().saturating_sub(MOST_LINE);
    let line = &line[line.ceil_char_boundary(from)..];
    let (start, words) = words.await?.complete(line);
    let found = Completion { replaces: line[start..].encode_utf16().count(), words };
    let json = serde_json::to_string(&found).context("writing JSON")?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}
