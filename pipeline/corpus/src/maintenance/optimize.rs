//! `tuwen optimize`. In: a corpus. Out: the same rows in the same order in fewer files, all of them
//! in tuwen's layout, and a checkpoint of every log. Old files stay for the versions that have
//! them, until `tuwen vacuum`. Memory does not grow with the corpus: files are written one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result};
use deltalake::kernel::Add;
use deltalake::protocol::checkpoints;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::bins::{Candidate, bins};
use super::rewrite::{Source, rewrite};
use super::store_file::OpenFile;
use crate::commit::{Change, Committed};
use crate::corpus::Corpus;
use crate::layout::target_file_bytes;
use crate::plain_files::PlainFile;
use crate::report::{Outcome, Progress, StageReport};
use crate::runs::Run;
use crate::snapshot::Snapshot;

/// The name of its runs.
const STAGE: &str = "optimize";

/// The table with a row for each run.
const RUNS: &str = "runs";

/// Footers asked for at once.
const FOOTERS_AT_ONCE: usize = 16;

/// What was done to a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OptimizedTable {
    /// Its files before.
    pub files_before: u64,
    /// Its files after.
    pub files_after: u64,
    /// Files that became others.
    pub rewritten: u64,
    /// Those of them that were not in tuwen's layout.
    pub foreign: u64,
    /// Rows in them.
    pub rows: u64,
    /// The version whose checkpoint was written now; none if it was there.
    pub checkpoint: Option<i64>,
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct OptimizeReport {
    /// How it ended.
    pub outcome: Outcome,
    /// The tables.
    pub tables: BTreeMap<&'static str, OptimizedTable>,
    /// Commits made, over all tables.
    pub commits: u64,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// The column of table `name` that must lie as tuwen lays it out: the stream copies pixels right
/// from the file, and decode reads picture files row group by row group.
pub(crate) fn bulky_column(name: &str) -> Option<&'static str> {
    match name {
        "images" => Some("pixels"),
        "originals" => Some("bytes"),
        _ => None,
    }
}

/// How many files of table `name` are not in tuwen's layout, by their footers: another program has
/// written or compacted them. They are read all the same, but `images` several times slower.
///
/// # Errors
/// The table is not there, or a file cannot be read.
pub async fn foreign_layout(snapshot: &Snapshot, name: &str) -> Result<usize> {
    let files = snapshot.plain_files(name)?;
    Ok(foreign(snapshot, name, &files).await?.len())
}

/// The paths of those of `files` that are not in tuwen's layout.
async fn foreign(snapshot: &Snapshot, name: &str, files: &[PlainFile]) -> Result<BTreeSet<String>> {
    let Some(bulky) = bulky_column(name) else { return Ok(BTreeSet::new()) };
    let opened: Vec<_> = files
        .iter()
        .map(|file| async move {
            let is_foreign = open(snapshot, name, file).await?.is_foreign(bulky);
            Ok::<_, anyhow::Error>(is_foreign.then(|| file.path.clone()))
        })
        .collect();
    let found: Vec<Option<String>> =
        stream::iter(opened).buffered(FOOTERS_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn open(snapshot: &Snapshot, name: &str, file: &PlainFile) -> Result<OpenFile> {
    let read = file.in_store(&snapshot.store_of(name)).open().await;
    let of_file = || format!("table `{name}`, file {}", file.path);
    read.with_context(of_file)?
        .map_err(|why| anyhow::anyhow!("{}: {why}\nhint: tuwen repair", of_file()))
}

/// Joins small files and rewrites foreign ones, table by table.
///
/// # Errors
/// The corpus cannot be read or written. What is committed by then stays.
pub async fn optimize(corpus: &Corpus, stop: &CancellationToken) -> Result<OptimizeReport> {
    let clock = Instant::now();
    let snapshot = corpus.snapshot().await?;
    let mut work = Work {
        run: Run::start(STAGE, &snapshot),
        row: StageReport::new(STAGE),
        snapshot,
        tables: BTreeMap::new(),
        commits: 0,
    };
    let mut names = work.snapshot.present();
    names.retain(|name| *name != RUNS);
    let optimized = Box::pin(work.tables(&names, stop)).await;
    match &optimized {
        Ok(()) if stop.is_cancelled() => work.row.outcome = Outcome::Interrupted,
        Ok(()) => {}
        Err(error) => {
            work.row.outcome = Outcome::Failed;
            work.row.error = Some(format!("{error:#}"));
        }
    }
    let outcome = work.row.outcome;
    let recorded = Box::pin(work.record()).await;
    optimized?;
    recorded?;
    if outcome == Outcome::Ok {
        // Last, so that the row of this run is joined as well, and a second run finds nothing to do.
        work.tables(&[RUNS], stop).await?;
        work.checkpoints().await?;
    }
    Ok(OptimizeReport {
        outcome,
        tables: work.tables,
        commits: work.commits,
        seconds: clock.elapsed().as_secs_f64(),
    })
}

struct Work {
    snapshot: Snapshot,
    /// What was rearranged since it began is all that happened to the tables since: a row of `runs`
    /// says that a table has the same rows at the versions read and written.
    run: Run,
    row: StageReport,
    tables: BTreeMap<&'static str, OptimizedTable>,
    commits: u64,
}

impl Work {
    async fn tables(&mut self, names: &[&'static str], stop: &CancellationToken) -> Result<()> {
        for &name in names {
            let files = self.snapshot.plain_files(name)?;
            self.table(name).files_before = files.len() as u64;
            let foreign = foreign(&self.snapshot, name, &files).await?;
            let candidates: Vec<Candidate> = files
                .iter()
                .map(|file| Candidate {
                    bytes: file.bytes,
                    is_foreign: foreign.contains(&file.path),
                })
                .collect();
            let bins = bins(&candidates, target_file_bytes(name));
            let n_rows = bins.iter().cloned().flat_map(|bin| &files[bin]).filter_map(|f| f.n_rows);
            let progress = match n_rows.sum() {
                0 => Progress::hidden(),
                n_rows => Progress::start(STAGE, n_rows),
            };
            for bin in bins {
                if stop.is_cancelled() {
                    break;
                }
                let n_foreign = candidates[bin.clone()].iter().filter(|c| c.is_foreign).count();
                self.join(name, &files[bin], n_foreign as u64, &progress).await?;
            }
            progress.finish();
            self.table(name).files_after = self.snapshot.plain_files(name)?.len() as u64;
        }
        Ok(())
    }

    /// Makes one file of `files`, or a few where they are too large for one.
    async fn join(
        &mut self,
        name: &'static str,
        files: &[PlainFile],
        n_foreign: u64,
        progress: &Progress,
    ) -> Result<()> {
        let mut sources = Vec::new();
        for file in files {
            sources.push(Source {
                path: file.path.clone(),
                open: open(&self.snapshot, name, file).await?,
                modified_ms: file.modified_ms,
                left_out: BTreeSet::new(),
                dropped: BTreeSet::new(),
                renumbered: BTreeMap::new(),
            });
        }
        let adds = rewrite(&self.snapshot, name, &sources, progress).await?;
        if !self.replace(name, files, &adds).await? {
            self.snapshot.discard(name, &adds).await;
            return Ok(());
        }
        let n_rows: u64 = files.iter().filter_map(|file| file.n_rows).sum();
        self.commits += 1;
        self.row.commits += 1;
        self.row.rows_in += n_rows;
        self.row.rows_out += n_rows;
        let table = self.table(name);
        table.rewritten += files.len() as u64;
        table.foreign += n_foreign;
        table.rows += n_rows;
        Ok(())
    }

    /// Commits `adds` in the place of `files`; not if another run has taken one of those away.
    async fn replace(
        &mut self,
        name: &'static str,
        files: &[PlainFile],
        adds: &[Add],
    ) -> Result<bool> {
        let leaving: BTreeSet<String> = files.iter().map(|file| file.path.clone()).collect();
        loop {
            if !leaving.is_subset(&self.snapshot.file_paths(name)?) {
                return Ok(false);
            }
            let removes = self.snapshot.removes(name, Some(&leaving))?;
            let change = Change { adds: adds.to_vec(), removes, only_rearranged: true };
            let author = self.run.author().clone();
            match self.snapshot.commit(name, change, &author).await? {
                Committed::Yes => return Ok(true),
                Committed::Conflict => {
                    Box::pin(self.record()).await?;
                    self.snapshot.refresh().await?;
                    self.run = Run::start(STAGE, &self.snapshot);
                }
            }
        }
    }

    /// Writes the row of `runs` for what was rearranged since the last.
    async fn record(&mut self) -> Result<()> {
        let row = std::mem::replace(&mut self.row, StageReport::new(STAGE));
        self.run.clone().finish(&mut self.snapshot, row, &json!({})).await?;
        Ok(())
    }

    /// Writes a checkpoint of every log that has none at its newest version.
    async fn checkpoints(&mut self) -> Result<()> {
        for name in self.snapshot.present() {
            let Some(version) = self.snapshot.version(name) else { continue };
            let path = Path::from(format!("_delta_log/{version:020}.checkpoint.parquet"));
            match self.snapshot.store_of(name).head(&path).await {
                Ok(_) => continue,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error).with_context(|| format!("table `{name}`, {path}")),
            }
            Box::pin(checkpoints::create_checkpoint(self.snapshot.delta(name), None))
                .await
                .with_context(|| format!("writing a checkpoint of table `{name}`"))?;
            self.table(name).checkpoint = Some(version);
        }
        Ok(())
    }

    fn table(&mut self, name: &'static str) -> &mut OptimizedTable {
        self.tables.entry(name).or_default()
    }
}
