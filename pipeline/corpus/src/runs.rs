//! The table `runs`. In: what a stage read, did and wrote, and how it ended. Out: one row, for runs that committed something or
//! failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use arrow::array::{
    ArrayRef, Int64Array, Int64Builder, MapBuilder, MapFieldNames, RecordBatch, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use chrono::{DateTime, Utc};
use datafusion::datasource::MemTable;
use serde_json::Value;
use tuwen_schemas::{schema, table};

use crate::commit::Author;
use crate::contract::missing_columns;
use crate::report::{Outcome, StageReport};
use crate::session::{Rows, bare_session};
use crate::snapshot::{Snapshot, TableVersions};

const RUNS: &str = "runs";

/// A stage under way.
#[derive(Clone, Debug)]
pub struct Run {
    author: Author,
    started: DateTime<Utc>,
    clock: Instant,
    versions_read: TableVersions,
}

impl Run {
    /// Notes the time and the table versions.
    pub fn start(stage: &'static str, snapshot: &Snapshot) -> Self {
        Self {
            author: Author { stage, run_id: uuid::Uuid::now_v7().to_string() },
            started: Utc::now(),
            clock: Instant::now(),
            versions_read: snapshot.versions(),
        }
    }

    /// Who commits for it.
    pub fn author(&self) -> &Author {
        &self.author
    }

    /// The versions the stage began with.
    pub fn versions_read(&self) -> &TableVersions {
        &self.versions_read
    }

    /// Completes `report` and, if the stage committed anything or failed, writes its row.
    ///
    /// # Errors
    /// The row cannot be written.
    pub async fn finish(
        self,
        snapshot: &mut Snapshot,
        report: StageReport,
        settings: &Value,
    ) -> Result<StageReport> {
        if report.commits == 0 && report.outcome == Outcome::Ok {
            return Ok(self.complete(snapshot, report));
        }
        self.record(snapshot, report, settings).await
    }

    fn complete(&self, snapshot: &Snapshot, mut report: StageReport) -> StageReport {
        report.seconds = self.clock.elapsed().as_secs_f64();
        report.run_id = self.author.run_id.clone();
        report.started = Some(self.started);
        report.finished = Some(Utc::now());
        report.versions_written = snapshot
            .versions()
            .into_iter()
            .filter(|(name, version)| self.versions_read.get(name) != Some(version))
            .collect();
        report.versions_read = self.versions_read.clone();
        report
    }

    /// Completes `report` and writes its row.
    ///
    /// # Errors
    /// As [`Run::finish`].
    pub async fn record(
        self,
        snapshot: &mut Snapshot,
        report: StageReport,
        settings: &Value,
    ) -> Result<StageReport> {
        let report = self.complete(snapshot, report);
        if report.outcome != Outcome::Ok && !says_outcomes(snapshot)? {
            // A row without an outcome would be taken for that of a run that ended well.
            tracing::warn!(
                "{}: the run is not recorded, since table `runs` has no column `outcome` yet\nhint: tuwen migrate",
                self.author.stage
            );
            return Ok(report);
        }
        let rejected = report.rejected.iter().map(|(k, v)| (k.clone(), *v as i64)).collect();
        let columns: Vec<ArrayRef> = vec![
            text(Some(&self.author.run_id)),
            text(Some(report.stage)),
            time(self.started),
            time(report.finished.unwrap_or(self.started)),
            number(report.rows_in),
            number(report.rows_out),
            map(&rejected)?,
            map(&report.versions_read)?,
            map(&report.versions_written)?,
            text(Some(&settings.to_string())),
            text(Some(env!("CARGO_PKG_VERSION"))),
            text(Some(report.outcome.name())),
            text(report.error.as_deref()),
            number(report.commits),
        ];
        let batch = RecordBatch::try_new(schema(RUNS), columns)?;
        let ctx = bare_session(Rows::Light)?;
        ctx.register_table("run", Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))?;
        snapshot.append(RUNS, ctx.table("run").await?, &self.author).await?;
        Ok(report)
    }
}

/// Whether the table `runs` is of a version that has outcomes.
fn says_outcomes(snapshot: &Snapshot) -> Result<bool> {
    let delta = snapshot.delta(RUNS);
    if delta.version().is_none() {
        return Ok(true);
    }
    Ok(!missing_columns(table(RUNS), delta)?.iter().any(|column| column == "outcome"))
}

fn text(value: Option<&str>) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn number(value: u64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![value as i64]))
}

fn time(at: DateTime<Utc>) -> ArrayRef {
    let micros = TimestampMicrosecondArray::from(vec![at.timestamp_micros()]);
    Arc::new(micros.with_timezone("UTC"))
}

fn map(entries: &BTreeMap<String, i64>) -> Result<ArrayRef> {
    let names =
        MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), Int64Builder::new());
    for (key, value) in entries {
        builder.keys().append_value(key);
        builder.values().append_value(*value);
    }
    builder.append(true)?;
    Ok(Arc::new(builder.finish()))
}
