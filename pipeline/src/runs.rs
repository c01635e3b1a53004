//! The table `runs`. In: what a stage read, did and wrote. Out: one row, for stages that committed something.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use arrow::array::{
    ArrayRef, Int64Array, Int64Builder, MapBuilder, MapFieldNames, RecordBatch, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use chrono::Utc;
use datafusion::datasource::MemTable;
use serde::Serialize;
use tuwen_schemas::schema;

use crate::corpus::{Corpus, Rows, TableVersions, bare_session};
use crate::report::StageReport;

/// A stage under way.
pub struct Run {
    started_us: i64,
    clock: Instant,
    versions_read: TableVersions,
}

impl Run {
    /// Notes the time and the table versions.
    ///
    /// # Errors
    /// A table's log cannot be read.
    pub async fn start(corpus: &Corpus) -> Result<Self> {
        let versions_read = corpus.versions().await?;
        Ok(Self { started_us: Utc::now().timestamp_micros(), clock: Instant::now(), versions_read })
    }

    /// The versions the stage began with.
    pub fn versions_read(&self) -> &TableVersions {
        &self.versions_read
    }

    /// Completes `report` and, if the stage committed anything, writes its row.
    ///
    /// # Errors
    /// The row cannot be written.
    pub async fn finish(
        self,
        corpus: &Corpus,
        mut report: StageReport,
        settings: &impl Serialize,
    ) -> Result<StageReport> {
        report.seconds = self.clock.elapsed().as_secs_f64();
        if report.commits == 0 {
            return Ok(report);
        }
        let written: TableVersions = corpus
            .versions()
            .await?
            .into_iter()
            .filter(|(name, version)| self.versions_read.get(name) != Some(version))
            .collect();
        let rejected = report.rejected.iter().map(|(k, v)| (k.clone(), *v as i64)).collect();
        let columns: Vec<ArrayRef> = vec![
            text(uuid::Uuid::now_v7().to_string()),
            text(report.stage),
            time(self.started_us),
            time(Utc::now().timestamp_micros()),
            Arc::new(Int64Array::from(vec![report.rows_in as i64])),
            Arc::new(Int64Array::from(vec![report.rows_out as i64])),
            map(&rejected)?,
            map(&self.versions_read)?,
            map(&written)?,
            text(serde_json::to_string(settings)?),
            text(env!("CARGO_PKG_VERSION")),
        ];
        let batch = RecordBatch::try_new(schema("runs"), columns)?;
        let ctx = bare_session(Rows::Light)?;
        ctx.register_table("run", Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))?;
        corpus.append("runs", ctx.table("run").await?).await?;
        Ok(report)
    }
}

fn text(value: impl Into<String>) -> ArrayRef {
    Arc::new(StringArray::from(vec![value.into()]))
}

fn time(micros: i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC"))
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
