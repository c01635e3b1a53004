//! Earlier versions of a snapshot's tables. In: a time, or nothing. Out: which version a table was at, or all of its commits with the
//! runs that made them. Reads commits, and no data.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use deltalake::DeltaTable;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tuwen_schemas::TABLES;

use crate::snapshot::Snapshot;

/// Commits asked for at once: a store takes its time to answer.
const COMMITS_AT_ONCE: usize = 16;

/// One commit to one table, as its log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRow {
    /// The table.
    pub table: &'static str,
    /// The version that the commit made.
    pub version: u64,
    /// When, in microseconds since 1970, UTC; none if the log does not say.
    pub committed_us: Option<i64>,
    /// Delta's name of what it did: `CREATE TABLE`, `WRITE`, `UPDATE`, `OPTIMIZE`, ….
    pub operation: Option<String>,
    /// The stage or command; none if it was not tuwen's.
    pub stage: Option<String>,
    /// The run, as in `runs.run_id`; none if it was not tuwen's.
    pub run_id: Option<String>,
    /// The version of tuwen.
    pub tuwen_version: Option<String>,
}

impl Snapshot {
    /// The version that table `name` was at by `time`, this snapshot's or an earlier one; none if it was not there yet.
    ///
    /// # Errors
    /// A commit cannot be read, or the log does not say when it was.
    pub async fn version_at(&self, name: &str, time: DateTime<Utc>) -> Result<Option<u64>> {
        let delta = self.delta(name);
        let Some(newest) = delta.version() else { return Ok(None) };
        // The versions below `low` are not later than `time`, those from `high` on are.
        let (mut low, mut high, mut found) = (0, newest + 1, None);
        while low < high {
            let middle = low.midpoint(high);
            match commit_info(delta, middle).await? {
                // The log was cut: what is gone is older than all that is left.
                None => low = middle + 1,
                Some(info) => {
                    let committed_us = committed_us(&info).with_context(|| {
                        format!("table `{name}`: version {middle} does not say when it was made")
                    })?;
                    if committed_us <= time.timestamp_micros() {
                        (found, low) = (Some(middle), middle + 1);
                    } else {
                        high = middle;
                    }
                }
            }
        }
        Ok(found)
    }

    /// This snapshot with every table at the version that it was at by `time`; those that were not there yet are empty.
    ///
    /// # Errors
    /// As [`Snapshot::version_at`]; or a version can no longer be read.
    pub async fn at_time(&self, time: DateTime<Utc>) -> Result<Self> {
        let mut then = self.clone();
        for table in TABLES.iter() {
            match self.version_at(table.name, time).await? {
                Some(version) => then.pin(table.name, version).await?,
                None => then.leave_out(table.name),
            }
        }
        Ok(then)
    }

    /// The commits of all tables that their logs still have, up to this snapshot's versions.
    ///
    /// # Errors
    /// A commit cannot be read.
    pub async fn commits(&self) -> Result<Vec<CommitRow>> {
        let mut rows = Vec::new();
        for table in TABLES.iter() {
            let delta = self.delta(table.name);
            let versions = 0..delta.version().map_or(0, |newest| newest + 1);
            let infos: Vec<_> = versions.map(|version| commit_info(delta, version)).collect();
            let infos: Vec<Option<Value>> =
                stream::iter(infos).buffered(COMMITS_AT_ONCE).try_collect().await?;
            for (version, info) in (0..).zip(infos) {
                let Some(info) = info else { continue };
                let text = |key: &str| info[key].as_str().map(str::to_owned);
                rows.push(CommitRow {
                    table: table.name,
                    version,
                    committed_us: committed_us(&info),
                    operation: text("operation"),
                    stage: text("stage"),
                    run_id: text("runId"),
                    tuwen_version: text("tuwenVersion"),
                });
            }
        }
        Ok(rows)
    }
}

fn committed_us(info: &Value) -> Option<i64> {
    let ms = info["inCommitTimestamp"].as_i64().or_else(|| info["timestamp"].as_i64())?;
    ms.checked_mul(1000)
}

/// The commit info of `version`, empty if the commit has none; none if the log no longer has the commit.
async fn commit_info(delta: &DeltaTable, version: u64) -> Result<Option<Value>> {
    let reading = || format!("reading version {version} of {}", delta.table_url());
    let bytes = delta.log_store().read_commit_entry(version).await.with_context(reading)?;
    let Some(bytes) = bytes else { return Ok(None) };
    let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
    for line in lines {
        if let Some(info) = line.with_context(reading)?.get_mut("commitInfo") {
            return Ok(Some(info.take()));
        }
    }
    Ok(Some(Value::Object(serde_json::Map::new())))
}
