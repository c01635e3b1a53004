//! The rows that a reader's text or condition chooses. In: a session, and the condition. Out: a bit for each row. The query runs once;
//! the pages after the first read its bits. It may take so long, and what it has found by then is shown as what it is.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::TableVersions;
use tuwen_etl::sql::{Params, Prepared, QueryError, Session, statements};

use super::rows::{GalleryRows, Marks, key_of};
use crate::server::metrics::Outcome;
use crate::server::queries::Queries;

/// How long a query may take once its turn has come.
const LONGEST: Duration = Duration::from_secs(8);

/// What a reader looks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Condition {
    /// Captions with this in them.
    Text(String),
    /// Rows of which this is true.
    Where(String),
}

/// What was found.
pub(super) struct Chosen {
    pub(super) marks: Marks,
    pub(super) took: Duration,
    /// Whether time was up before the last row.
    pub(super) is_stopped: bool,
    /// Those of all tables, any of which a condition may read.
    pub(super) versions: TableVersions,
}

/// Asks for the rows that meet `condition`.
///
/// # Errors
/// The condition is wrong: the error says where in it.
pub(super) async fn choose(
    session: Session,
    queries: &Arc<Queries>,
    rows: &GalleryRows,
    condition: &Condition,
) -> anyhow::Result<Chosen> {
    let versions = session.snapshot().versions();
    let asked = condition.clone();
    let planned = queries.plan(async move { planned(&session, &asked).await });
    let prepared = planned.await.map_err(|failure| failure.error)?;
    let run = queries.run(prepared, CancellationToken::new());
    let mut batches = run.await.map_err(|failure| failure.error)?;
    let clock = Instant::now();
    let mut keys = HashSet::new();
    let is_stopped = loop {
        let left = LONGEST.saturating_sub(clock.elapsed());
        match timeout(left, batches.next()).await {
            Err(_) => break true,
            Ok(None) => break false,
            Ok(Some(Err(failure))) if failure.outcome == Outcome::Timeout => break true,
            Ok(Some(Err(failure))) => return Err(of_condition(&failure.error, condition).into()),
            Ok(Some(Ok(batch))) => {
                let ids = batch.column(0).as_string_opt::<i32>();
                let ids = ids.ok_or_else(|| QueryError::new("expected a condition"))?;
                keys.extend(ids.iter().flatten().map(key_of));
            }
        }
    };
    let marks = rows.marked(&keys);
    Ok(Chosen { marks, took: clock.elapsed(), is_stopped, versions })
}

async fn planned(session: &Session, condition: &Condition) -> Result<Prepared, QueryError> {
    match condition {
        Condition::Text(text) => {
            let pattern = format!("pattern=%{}%", escaped(text));
            let query = include_str!("../../../../../../sql/page/captions_like.sql");
            prepare(session, query, &Params::of([pattern.as_str()])?).await
        }
        Condition::Where(condition) => prepare_condition(session, condition).await,
    }
}

async fn prepare(session: &Session, query: &str, params: &Params) -> Result<Prepared, QueryError> {
    let mut found = statements(query)?;
    match (found.pop(), found.is_empty()) {
        (Some(statement), true) => session.prepare(&statement, params).await,
        _ => Err(QueryError::new("expected one condition, without a semicolon")),
    }
}

/// Of the columns of `examples` alone if these are enough, which is faster, else of all.
async fn prepare_condition(session: &Session, condition: &str) -> Result<Prepared, QueryError> {
    let joined = include_str!("../../../../../../sql/page/gallery_columns.sql");
    let none = Params::default();
    let of_table = format!("select example_id from examples where (\n{}\n)", one_line(condition));
    if let Ok(prepared) = prepare(session, &of_table, &none).await {
        return Ok(prepared);
    }
    let lines: Vec<&str> = joined.lines().filter(|line| !line.starts_with("--")).collect();
    let joined = lines.join(" ");
    let of_all = format!(
        "select example_id from ({joined}) as examples where (\n{}\n)",
        one_line(condition)
    );
    let prepared = prepare(session, &of_all, &none).await;
    prepared.map_err(|error| of_condition(&error, &Condition::Where(condition.to_owned())))
}

/// A condition as the second line of a query.
fn one_line(condition: &str) -> String {
    condition.split(['\n', '\r']).collect::<Vec<_>>().join(" ")
}

/// An error with its caret as if the condition, which stands in the second line, were all that there is.
fn of_condition(error: &QueryError, condition: &Condition) -> QueryError {
    const LINE: &str = "LINE 2: ";
    let Condition::Where(_) = condition else { return error.clone() };
    let text = error.to_string();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Some(at) = lines.iter().position(|line| line.starts_with(LINE)) {
        for line in lines.iter_mut().skip(at).take(2) {
            *line = line.get(LINE.len()..).unwrap_or_default().to_owned();
        }
    } else if let Some(at) = lines.iter().position(|line| line.starts_with("LINE 3: )")) {
        // Something is missing at its end, behind which the query goes on.
        lines.truncate(at);
    }
    QueryError::new(lines.join("\n"))
}

/// `text` as a part of a pattern of LIKE that stands for itself.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
