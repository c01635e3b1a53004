//! The last run of a stage. In: a snapshot. Out: what it was told and the versions it left, by which the next run knows that nothing
//! is to do without asking the tables.

use std::collections::BTreeSet;

use anyhow::Result;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use tuwen_schemas::TABLES;

use crate::query::frame;
use crate::session::{Rows, bare_session};
use crate::snapshot::{Snapshot, TableVersions};

/// Files of `runs` that are read at once, the newest first. Each run adds one, and the last of every stage is mostly among these.
const FILES_AT_ONCE: usize = 16;

/// What a run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// The stage's settings, JSON.
    pub settings: String,
    /// When it began, microseconds since 1970, UTC.
    pub started_us: i64,
    /// The versions of all tables when it ended, as far as it knew them.
    pub versions: TableVersions,
}

impl Snapshot {
    /// The last run of `stage` that ended well.
    ///
    /// # Errors
    /// The table `runs` cannot be read.
    pub async fn last_run(&self, stage: &str) -> Result<Option<LastRun>> {
        if self.version("runs").is_none() {
            return Ok(None);
        }
        let mut files: Vec<(i64, String)> = self
            .delta("runs")
            .snapshot()?
            .log_data()
            .iter()
            .map(|file| (file.modification_time(), file.path().into_owned()))
            .collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        let mut rearranged = Vec::new();
        for files in files.chunks(FILES_AT_ONCE) {
            let paths: BTreeSet<String> = files.iter().map(|(_, path)| path.clone()).collect();
            let mut runs = self.runs_in(stage, &paths).await?;
            while let Some(run) = runs.pop() {
                if run.stage != stage {
                    rearranged.push(run);
                    continue;
                }
                let mut versions = run.read;
                versions.extend(run.written);
                // One made since then in the place of another has versions of its own.
                versions.retain(|name, _| {
                    self.created_us(name).is_none_or(|created| created <= run.finished_us)
                });
                rearranged.sort_unstable_by(|a: &Recorded, b| a.run_id.cmp(&b.run_id));
                for rearranged in rearranged.iter().filter(|other| other.run_id > run.run_id) {
                    follow(&mut versions, rearranged);
                }
                let (settings, started_us) = (run.settings, run.started_us);
                return Ok(Some(LastRun { settings, started_us, versions }));
            }
        }
        Ok(None)
    }

    /// When table `name` was made, in microseconds since 1970.
    fn created_us(&self, name: &str) -> Option<i64> {
        // A later tuwen may know other tables.
        let table = TABLES.iter().find(|table| table.name == name)?;
        Some(self.delta(table.name).snapshot().ok()?.metadata().created_time()? * 1000)
    }

    /// The runs of `stage` and of optimize in some files, the latest last.
    async fn runs_in(&self, stage: &str, paths: &BTreeSet<String>) -> Result<Vec<Recorded>> {
        let ctx = bare_session(Rows::Light)?;
        let table = self.provider("runs", Some(paths), &ctx).await?;
        ctx.register_table("runs", table)?;
        let text = include_str!("../../../sql/last_run.sql");
        let rows = frame(&ctx, "last_run", text, [("stage", stage.into())]).await?;
        let mut runs = Vec::new();
        for batch in rows.collect().await? {
            let text = |column: usize, row: usize| {
                batch.column(column).as_string::<i32>().value(row).to_owned()
            };
            let time = |column: usize, row: usize| {
                batch.column(column).as_primitive::<TimestampMicrosecondType>().value(row)
            };
            runs.extend((0..batch.num_rows()).map(|row| Recorded {
                run_id: text(0, row),
                stage: text(1, row),
                settings: text(2, row),
                started_us: time(3, row),
                finished_us: time(4, row),
                read: versions(&batch, 5, row),
                written: versions(&batch, 6, row),
            }));
        }
        Ok(runs)
    }
}

/// A row of `runs`.
struct Recorded {
    run_id: String,
    stage: String,
    settings: String,
    started_us: i64,
    finished_us: i64,
    read: TableVersions,
    written: TableVersions,
}

/// A table at the version that optimize read has the same rows at the one that it wrote.
fn follow(versions: &mut TableVersions, optimize: &Recorded) {
    for (name, version) in versions {
        if optimize.read.get(name) == Some(version)
            && let Some(written) = optimize.written.get(name)
        {
            *version = *written;
        }
    }
}

/// The map in a row of a column.
fn versions(batch: &RecordBatch, column: usize, row: usize) -> TableVersions {
    let entries = batch.column(column).as_map().value(row);
    let (names, numbers) = (entries.column(0), entries.column(1));
    let names = names.as_string::<i32>().iter().flatten().map(str::to_owned);
    names.zip(numbers.as_primitive::<Int64Type>().values().iter().copied()).collect()
}
