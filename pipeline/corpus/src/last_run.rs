//! The last run of a stage. In: a snapshot. Out: what it was told and the versions it left, by which the next run knows that nothing
//! is to do without asking the tables.

use std::collections::BTreeSet;

use anyhow::Result;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

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
    /// The versions of all tables when it ended, as far as it knew them.
    pub versions: TableVersions,
}

impl LastRun {
    /// Whether tables `names` are at the versions that it left.
    pub fn left(&self, snapshot: &Snapshot, names: &[&str]) -> bool {
        names.iter().all(|name| {
            let version = snapshot.version(name);
            version.is_some() && self.versions.get(*name).copied() == version
        })
    }
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
                rearranged.sort_unstable_by(|a: &Recorded, b| a.run_id.cmp(&b.run_id));
                for rearranged in rearranged.iter().filter(|other| other.run_id > run.run_id) {
                    follow(&mut versions, rearranged);
                }
                return Ok(Some(LastRun { settings: run.settings, versions }));
            }
        }
        Ok(None)
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
            runs.extend((0..batch.num_rows()).map(|row| Recorded {
                run_id: text(0, row),
                stage: text(1, row),
                settings: text(2, row),
                read: versions(&batch, 3, row),
                written: versions(&batch, 4, row),
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
