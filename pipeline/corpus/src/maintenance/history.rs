//! `tuwen history`. In: the table `runs`. Out: its newest rows, as a person or a script asks for them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use datafusion::prelude::{col, lit};
use serde::Serialize;

use crate::query::frame;
use crate::session::Rows;
use crate::snapshot::Snapshot;

/// A run as it stands in `runs`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PastRun {
    /// UUID version 7.
    pub run_id: String,
    /// The stage or command.
    pub stage: String,
    /// When it began.
    pub started: DateTime<Utc>,
    /// How long it took.
    pub seconds: f64,
    /// ok, failed, interrupted or gate.
    pub outcome: String,
    /// Rows that it had to handle.
    pub rows_in: i64,
    /// Rows that came out good.
    pub rows_out: i64,
    /// Rows that did not, by reason.
    pub rows_rejected: BTreeMap<String, i64>,
    /// What it failed by.
    pub error: Option<String>,
    /// Commits; none if an older tuwen did not write it down.
    pub commits: Option<i64>,
    /// Table name to version when it ended, of tables that it changed.
    pub versions_written: BTreeMap<String, i64>,
    /// The tuwen that ran it.
    pub tuwen_version: String,
}

/// The newest `n` runs, the newest first; with `failed_only` those that did not end well.
///
/// # Errors
/// `runs` cannot be read.
pub async fn history(snapshot: &Snapshot, n: usize, failed_only: bool) -> Result<Vec<PastRun>> {
    let ctx = snapshot.session(Rows::Light).await?;
    let text = include_str!("../../../../sql/queries/history.sql");
    let mut rows = frame(&ctx, "queries/history", text, []).await?;
    if failed_only {
        rows = rows.filter(col("outcome").not_eq(lit("ok")))?;
    }
    let rows = rows.sort(vec![col("run_id").sort(false, true)])?.limit(0, Some(n))?;
    let mut runs = Vec::new();
    for batch in rows.collect().await? {
        for row in 0..batch.num_rows() {
            runs.push(past_run(&batch, row)?);
        }
    }
    Ok(runs)
}

fn past_run(batch: &RecordBatch, row: usize) -> Result<PastRun> {
    let column = |name: &str| -> Result<&ArrayRef> {
        batch.column_by_name(name).with_context(|| format!("sql/queries/history.sql: no `{name}`"))
    };
    let text = |name: &str| -> Result<Option<String>> {
        let column = column(name)?.as_string::<i32>();
        Ok(column.is_valid(row).then(|| column.value(row).to_owned()))
    };
    let number = |name: &str| -> Result<Option<i64>> {
        let column = column(name)?.as_primitive::<Int64Type>();
        Ok(column.is_valid(row).then(|| column.value(row)))
    };
    let map = |name: &str| -> Result<BTreeMap<String, i64>> {
        let entries = column(name)?.as_map().value(row);
        let names = entries.column(0).as_string::<i32>().iter().flatten().map(str::to_owned);
        let numbers = entries.column(1).as_primitive::<Int64Type>();
        Ok(names.zip(numbers.values().iter().copied()).collect())
    };
    let started = column("started")?.as_primitive::<TimestampMicrosecondType>().value(row);
    Ok(PastRun {
        run_id: text("run_id")?.unwrap_or_default(),
        stage: text("stage")?.unwrap_or_default(),
        started: DateTime::from_timestamp_micros(started).context("runs: `started` is no time")?,
        seconds: column("seconds")?.as_primitive::<Float64Type>().value(row),
        outcome: text("outcome")?.unwrap_or_default(),
        rows_in: number("rows_in")?.unwrap_or(0),
        rows_out: number("rows_out")?.unwrap_or(0),
        rows_rejected: map("rows_rejected")?,
        error: text("error")?,
        commits: number("commits")?,
        versions_written: map("versions_written")?,
        tuwen_version: text("tuwen_version")?.unwrap_or_default(),
    })
}
