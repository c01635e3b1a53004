//! Runs what was asked. In: a query with its parameters. Out: its first rows as cells of a page, and what is drawn of them; or what is
//! wrong. No more rows are computed than are shown, and pictures become thumbnails batch by batch.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit};
use tokio_util::sync::CancellationToken;
use tuwen_etl::sql::{Params, Prepared, QueryError, Statement, statements, thumbnail_of};
use tuwen_settings::DecodeSettings;

use super::ask::{Ask, Drawn};
use super::desk::Desk;
use crate::server::queries::Failure;
use crate::sql::output::{Bytes, for_each_row, visible};

/// Rows that are drawn, where there are as many.
pub(super) const MOST_DRAWN: usize = 10_000;

/// Letters of a cell that are shown.
const MOST_LETTERS: usize = 500;

/// Thumbnails of a page; later pictures are shown by their bytes.
const MOST_THUMBNAILS: usize = 200;

/// What there is to show.
pub(super) enum Answered {
    /// Nothing was asked.
    Nothing,
    /// Another site's link asks: the reader decides.
    Held,
    /// These parameters have no value yet.
    Missing,
    Wrong(QueryError),
    Rows(Table),
}

/// Rows as cells.
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// Whether there are more.
    pub(super) is_cut: bool,
    pub(super) took: Duration,
    pub(super) points: Option<Points>,
}

/// A column of a page.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) data_type: DataType,
}

impl Column {
    pub(super) fn is_number(&self) -> bool {
        self.data_type.is_numeric()
    }

    pub(super) fn is_time(&self) -> bool {
        matches!(self.data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
    }
}

/// A value of a page.
pub(super) enum Cell {
    Null,
    /// What is shown, and how many letters are not.
    Text {
        text: String,
        more: usize,
    },
    /// A thumbnail as a data URI.
    Picture(String),
}

/// Two columns of the rows.
#[derive(Default)]
pub(super) struct Points {
    /// As text, where bars are named by it.
    pub(super) names: Vec<String>,
    /// Not a number where there is none.
    pub(super) x: Vec<f64>,
    pub(super) y: Vec<f64>,
}

/// What `ask` comes to.
pub(super) async fn answer(desk: &Desk, ask: &Ask, is_asked_here: bool) -> Result<Answered> {
    if ask.query.trim().is_empty() {
        return Ok(Answered::Nothing);
    }
    let statement = match one_statement(&ask.query) {
        Ok(statement) => statement,
        Err(error) => return Ok(Answered::Wrong(error)),
    };
    if !is_asked_here {
        return Ok(Answered::Held);
    }
    if statement.parameters().iter().any(|name| ask.param(name).is_none()) {
        return Ok(Answered::Missing);
    }
    let clock = Instant::now();
    let prepared = match prepare(desk, statement, ask).await? {
        Ok(prepared) => prepared,
        Err(error) => return Ok(Answered::Wrong(error)),
    };
    match table(desk, prepared, ask).await {
        Ok(mut table) => {
            table.took = clock.elapsed();
            Ok(Answered::Rows(table))
        }
        Err(error) => Ok(Answered::Wrong(error.downcast::<QueryError>()?)),
    }
}

/// The one statement of `query`.
pub(super) fn one_statement(query: &str) -> Result<Statement, QueryError> {
    let mut all = statements(query)?;
    if all.len() != 1 {
        return Err(QueryError::new(format!("expected one query, found {}", all.len())));
    }
    Ok(all.remove(0))
}

/// Plans `statement`, or what `explain` says of it, over a session of its own.
///
/// # Errors
/// The corpus cannot be read. What is wrong with the query is within.
pub(super) async fn prepare(
    desk: &Desk,
    statement: Statement,
    ask: &Ask,
) -> Result<Result<Prepared, QueryError>> {
    let session = desk.served.own_session().await?;
    let names = statement.parameters();
    let params = ask.params.iter().filter(|(name, _)| names.contains(name));
    let params: Vec<String> = params.map(|(name, value)| format!("{name}={value}")).collect();
    let params = Params::of(params.iter().map(String::as_str))?;
    let explains = ask.explains;
    let planned = desk.queries.plan(async move {
        let prepared = Box::pin(session.prepare(&statement, &params)).await?;
        if !explains {
            return Ok(prepared);
        }
        let explained = one_statement(&format!("explain {}", statement.sql()))?;
        Box::pin(session.prepare(&explained, &params)).await
    });
    Ok(planned.await.map_err(said))
}

/// What is said of a query that was ended, or never begun.
pub(super) fn said(failure: Failure) -> QueryError {
    failure.error
}

async fn table(desk: &Desk, prepared: Prepared, ask: &Ask) -> Result<Table> {
    let fields = prepared.frame().schema().fields().clone();
    let columns = fields
        .iter()
        .map(|field| Column { name: field.name().clone(), data_type: field.data_type().clone() });
    let columns: Vec<Column> = columns.collect();
    let place = |name: &str| columns.iter().position(|column| column.name == name);
    let drawn = ask.drawn.as_ref().and_then(|Drawn { x, y, .. }| Some((place(x)?, place(y)?)));
    let mut table = Table {
        rows: Vec::new(),
        is_cut: false,
        took: Duration::ZERO,
        points: drawn.map(|_| Points::default()),
        columns,
    };
    let wanted = if drawn.is_some() { MOST_DRAWN.max(ask.n_rows) } else { ask.n_rows };
    let (mut n_seen, mut n_thumbnails) = (0, 0);
    // One more tells whether there are more.
    let limited = prepared.limited(wanted + 1)?;
    let mut rows = desk.queries.run(limited, CancellationToken::new()).await.map_err(said)?;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(said)?;
        let shown = batch.slice(0, batch.num_rows().min(ask.n_rows.saturating_sub(n_seen)));
        let (cells, pictures) = cells(shown, MOST_THUMBNAILS - n_thumbnails).await?;
        n_thumbnails += pictures;
        table.rows.extend(cells);
        if let (Some(points), Some((x, y))) = (&mut table.points, drawn) {
            points.add(&batch.slice(0, batch.num_rows().min(wanted - n_seen.min(wanted))), x, y)?;
        }
        n_seen += batch.num_rows();
    }
    table.is_cut = n_seen > table.rows.len();
    Ok(table)
}

/// The cells of `batch`, and how many of them are thumbnails: at most `most_thumbnails`.
async fn cells(batch: RecordBatch, most_thumbnails: usize) -> Result<(Vec<Vec<Cell>>, usize)> {
    // Decoding pictures takes a while, in which others are answered.
    tokio::task::spawn_blocking(move || {
        let mut rows = Vec::with_capacity(batch.num_rows());
        for_each_row(&batch, Bytes::Number, |cells| {
            rows.push(cells.iter().map(|cell| cell.as_deref().map_or(Cell::Null, text)).collect());
            Ok(())
        })?;
        let n_thumbnails = add_thumbnails(&batch, &mut rows, most_thumbnails)?;
        Ok((rows, n_thumbnails))
    })
    .await
    .context("making cells panicked")?
}

/// Puts thumbnails in the place of pictures, be they files or pixels.
fn add_thumbnails(batch: &RecordBatch, rows: &mut [Vec<Cell>], most: usize) -> Result<usize> {
    let (settings, mut n) = (DecodeSettings::default(), 0);
    for (i, column) in batch.columns().iter().enumerate() {
        if !column.data_type().is_binary() {
            continue;
        }
        let values = cast(column, &DataType::BinaryView)?;
        for (value, row) in values.as_binary_view().iter().zip(rows.iter_mut()) {
            if n == most {
                return Ok(n);
            }
            if let Some(uri) = value.and_then(|value| thumbnail_of(value, &settings)) {
                row[i] = Cell::Picture(uri);
                n += 1;
            }
        }
    }
    Ok(n)
}

fn text(cell: &str) -> Cell {
    let (shown, more) = match cell.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) => (&cell[..end], cell[end..].chars().count()),
        None => (cell, 0),
    };
    Cell::Text { text: visible(shown).into_owned(), more }
}

impl Points {
    fn add(&mut self, batch: &RecordBatch, x: usize, y: usize) -> Result<()> {
        let names = batch.project(&[x])?;
        for_each_row(&names, Bytes::Number, |cells| {
            self.names.push(cells[0].as_deref().unwrap_or("NULL").to_owned());
            Ok(())
        })?;
        self.x.extend(numbers(batch.column(x))?);
        self.y.extend(numbers(batch.column(y))?);
        Ok(())
    }
}

/// Numbers as they are, times in seconds since 1970, and nothing for what is neither.
fn numbers(column: &ArrayRef) -> Result<Vec<f64>> {
    let column = match column.data_type() {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            let seconds = cast(column, &DataType::Timestamp(TimeUnit::Second, None))?;
            cast(&seconds, &DataType::Int64)?
        }
        other if other.is_numeric() => ArrayRef::clone(column),
        _ => return Ok(vec![f64::NAN; column.len()]),
    };
    let numbers = cast(&column, &DataType::Float64)?;
    Ok(numbers.as_primitive::<Float64Type>().iter().map(|n| n.unwrap_or(f64::NAN)).collect())
}
