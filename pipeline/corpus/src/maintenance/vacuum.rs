//! `tuwen vacuum`. In: a corpus, how long files are kept, and versions that are read beyond that.
//! Out: what it deleted: files that no version of that time has, among them those that killed runs
//! left, which no version has ever had. The logs stay as they are: they are small, and any version
//! in them may be a training run's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::live::Folder;
use super::pins::Pin;
use crate::corpus::Corpus;
use crate::location::local_folder;
use crate::report::{Outcome, Progress, StageReport};
use crate::runs::Run;
use crate::scratch::SHARED_SCRATCH;
use crate::snapshot::Snapshot;

/// The name of its runs.
const STAGE: &str = "vacuum";

/// How long files stay that no version has any more, if nobody says otherwise: `tuwen vacuum` has it as the default of `--older-than`.
pub(super) const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Files deleted at once.
const DELETES_AT_ONCE: usize = 8;

/// What is to be deleted.
#[derive(Clone, Debug)]
pub struct VacuumOptions {
    /// Files of versions that were the newest within this time stay, and younger files.
    pub older_than: Duration,
    /// Versions whose files stay.
    pub pins: Vec<Pin>,
    /// Only say what would be deleted.
    pub dry_run: bool,
}

/// What was deleted of a table's folder, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VacuumedTable {
    /// Files.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// The oldest version that can be read afterwards, pinned ones apart.
    pub oldest_version: i64,
    /// Pinned versions.
    pub pinned: BTreeSet<u64>,
    /// The files that would be deleted; only of a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct VacuumReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether nothing was deleted.
    pub dry_run: bool,
    /// Files written or left after this stayed.
    pub kept_since: DateTime<Utc>,
    /// The tables.
    pub tables: BTreeMap<&'static str, VacuumedTable>,
    /// Files of tables that were deleted: all of them, unless it was interrupted.
    pub deleted: u64,
    /// Files that drivers of a cluster left which were killed.
    pub scratch_files: u64,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// Deletes what is not needed, until `stop` is cancelled.
///
/// # Errors
/// A log or a pinned version cannot be read: nothing is deleted then. Or the store does not delete.
pub async fn vacuum(
    corpus: &Corpus,
    options: &VacuumOptions,
    stop: &CancellationToken,
) -> Result<VacuumReport> {
    let clock = Instant::now();
    let kept_since = Utc::now() - chrono::Duration::from_std(options.older_than)?;
    let before = corpus.snapshot().await?;
    let mut lying = BTreeMap::new();
    for name in before.present() {
        lying.insert(name, before.folder(name).await?);
    }
    // The logs after the folders: a file that a run commits in between is in a version then.
    let mut snapshot = corpus.snapshot().await?;
    let run = Run::start(STAGE, &snapshot);
    let mut row = StageReport::new(STAGE);
    let n_tables = lying.len();
    let worked = delete_from(&snapshot, lying, kept_since, options, (&mut row, stop));
    let worked = Box::pin(worked).await;
    match &worked {
        Ok(all) if stop.is_cancelled() && (all.len() < n_tables || row.rows_out < row.rows_in) => {
            row.outcome = Outcome::Interrupted;
        }
        Ok(_) => {}
        Err(error) => {
            row.outcome = Outcome::Failed;
            row.error = Some(format!("{error:#}"));
        }
    }
    let (outcome, deleted) = (row.outcome, row.rows_out);
    if !options.dry_run && (row.rows_in > 0 || worked.is_err()) {
        let settings = json!({ "kept_since": kept_since, "pins": options.pins.len() });
        let recorded = Box::pin(run.record(&mut snapshot, row, &settings)).await;
        // A run that failed because nothing can be written cannot be recorded either.
        if worked.is_ok() {
            recorded?;
        }
    }
    let tables = worked?;
    let scratch_files = match outcome {
        Outcome::Interrupted => 0,
        _ => scratch(corpus, kept_since, options.dry_run).await?,
    };
    let (dry_run, seconds) = (options.dry_run, clock.elapsed().as_secs_f64());
    Ok(VacuumReport { outcome, dry_run, kept_since, tables, deleted, scratch_files, seconds })
}

/// Deletes what is not needed of the files that lie in each table's folder, and counts them in `row`, the deleted ones as good.
async fn delete_from(
    snapshot: &Snapshot,
    lying: BTreeMap<&'static str, Folder>,
    kept_since: DateTime<Utc>,
    options: &VacuumOptions,
    (row, stop): (&mut StageReport, &CancellationToken),
) -> Result<BTreeMap<&'static str, VacuumedTable>> {
    let (mut tables, mut leaving) = (BTreeMap::new(), BTreeMap::new());
    for (name, lying) in lying {
        if stop.is_cancelled() {
            break;
        }
        let kept = kept(snapshot, name, kept_since, &options.pins).await?;
        let mut table = VacuumedTable {
            oldest_version: i64::try_from(kept.oldest_version)?,
            pinned: kept.pinned,
            ..VacuumedTable::default()
        };
        let mut paths = Vec::new();
        for (path, file) in lying {
            if file.modified < kept_since && !kept.paths.contains(&path) {
                table.files += 1;
                table.bytes += file.bytes;
                paths.push(path);
            }
        }
        let staged = staged_files(snapshot, name, kept_since)?;
        table.files += staged.len() as u64;
        table.bytes += staged.iter().map(|(_, bytes)| bytes).sum::<u64>();
        if options.dry_run {
            table.paths = paths.iter().map(ToString::to_string).collect();
            let staged = staged.iter().map(|(path, _)| path.display().to_string());
            table.paths.extend(staged);
        }
        tables.insert(name, table);
        leaving.insert(name, (paths, staged));
    }
    if options.dry_run {
        return Ok(tables);
    }
    row.rows_in = tables.values().map(|table| table.files).sum();
    let progress = Progress::start(STAGE, row.rows_in);
    for (name, (paths, staged)) in leaving {
        let n_deleted = AtomicU64::new(0);
        let deleted = delete(snapshot, name, paths, &n_deleted, (&progress, stop)).await;
        row.rows_out += n_deleted.into_inner();
        deleted?;
        for (path, _) in staged {
            if stop.is_cancelled() {
                break;
            }
            std::fs::remove_file(&path).with_context(|| format!("deleting {}", path.display()))?;
            row.rows_out += 1;
            progress.add(1);
        }
    }
    progress.finish();
    Ok(tables)
}

/// What stays of a table.
struct Kept {
    paths: BTreeSet<Path>,
    oldest_version: u64,
    pinned: BTreeSet<u64>,
}

/// The files of all versions that were the newest at some time since `since`, and of pinned ones.
async fn kept(
    snapshot: &Snapshot,
    name: &'static str,
    since: DateTime<Utc>,
    pins: &[Pin],
) -> Result<Kept> {
    let newest = u64::try_from(snapshot.version(name).unwrap_or(0))?;
    let oldest = oldest_version(snapshot, name, since, newest).await?;
    let mut kept = Kept { paths: BTreeSet::new(), oldest_version: oldest, pinned: BTreeSet::new() };
    kept.paths.extend(live_at(snapshot, name, oldest).await?);
    for version in oldest + 1..=newest {
        match snapshot.commit_lines(name, version).await? {
            Some(lines) => {
                for add in lines.iter().filter_map(|line| line.add.as_ref()) {
                    kept.paths.insert(add.store_path()?);
                }
            }
            // The commit is in a checkpoint only.
            None => kept.paths.extend(live_at(snapshot, name, version).await?),
        }
    }
    for pin in pins.iter().filter(|pin| pin.table == name) {
        let live = live_at(snapshot, name, pin.version).await.with_context(|| {
            format!("{}: it reads version {} of table `{name}`", pin.by.display(), pin.version)
        })?;
        kept.paths.extend(live);
        kept.pinned.insert(pin.version);
    }
    Ok(kept)
}

async fn live_at(snapshot: &Snapshot, name: &'static str, version: u64) -> Result<Vec<Path>> {
    let mut then = snapshot.clone();
    if snapshot.version(name) != Some(i64::try_from(version)?) {
        then.pin(name, version).await?;
    }
    Ok(then.plain_files(name)?.into_iter().map(|file| file.store_path).collect())
}

/// The version of table `name` that was the newest at `since`; the first, if it is younger. Versions
/// are as old as their commits' files, as for Delta's own time travel.
async fn oldest_version(
    snapshot: &Snapshot,
    name: &str,
    since: DateTime<Utc>,
    newest: u64,
) -> Result<u64> {
    let store = snapshot.store_of(name);
    let listed: Vec<ObjectMeta> = store
        .list(Some(&Path::from("_delta_log")))
        .try_collect()
        .await
        .with_context(|| format!("listing the log of table `{name}`"))?;
    let mut commits: Vec<(u64, DateTime<Utc>)> = listed
        .iter()
        .filter_map(|file| {
            let version = file.location.filename()?.strip_suffix(".json")?.parse().ok()?;
            Some((version, file.last_modified))
        })
        .filter(|(version, _)| *version <= newest)
        .collect();
    commits.sort();
    let first_young = commits.iter().find(|(_, at)| *at >= since).map(|(version, _)| *version);
    let first = commits.first().map_or(newest, |(version, _)| *version);
    Ok(match first_young {
        // Before it another was the newest, when that time began.
        Some(version) => version.saturating_sub(1).max(first),
        None => newest,
    })
}

async fn delete(
    snapshot: &Snapshot,
    name: &str,
    paths: Vec<Path>,
    n_deleted: &AtomicU64,
    (progress, stop): (&Progress, &CancellationToken),
) -> Result<()> {
    let store = snapshot.store_of(name);
    let deletes = paths.into_iter().map(|path| {
        let store = &store;
        async move {
            match store.delete(&path).await {
                // Somebody else was faster.
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {
                    n_deleted.fetch_add(1, Ordering::Relaxed);
                    progress.add(1);
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("deleting {name}/{path}"));
                }
            }
            Ok(())
        }
    });
    let deletes: Vec<_> = deletes.collect();
    let deletes = stream::iter(deletes).take_until(stop.cancelled());
    deletes.buffer_unordered(DELETES_AT_ONCE).try_collect::<()>().await
}

/// Deletes the scratch files that were written before `since`; how many there are.
async fn scratch(corpus: &Corpus, since: DateTime<Utc>, dry_run: bool) -> Result<u64> {
    let (store, root) = corpus.store().await?;
    let folder: Path = root.parts().chain(Path::from(SHARED_SCRATCH).parts()).collect();
    let listed: Vec<ObjectMeta> = store.list(Some(&folder)).try_collect().await?;
    let stale = listed.into_iter().filter(|file| file.last_modified < since);
    let stale: Vec<Path> = stale.map(|file| file.location).collect();
    let n_files = stale.len() as u64;
    if !dry_run {
        let stale = stream::iter(stale.into_iter().map(Ok)).boxed();
        store.delete_stream(stale).try_collect::<Vec<_>>().await?;
    }
    Ok(n_files)
}

/// Files that a killed run had begun to write on this machine's file system: `NAME.parquet#N`, which
/// the store does not list.
fn staged_files(
    snapshot: &Snapshot,
    name: &str,
    since: DateTime<Utc>,
) -> Result<Vec<(std::path::PathBuf, u64)>> {
    let url = snapshot.corpus().root_of(name).join(&format!("{name}/"))?;
    let Some(folder) = local_folder(&url) else { return Ok(Vec::new()) };
    let mut staged = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry.with_context(|| folder.display().to_string())?;
        let file_name = entry.file_name();
        let Some((_, number)) = file_name.to_str().and_then(|name| name.split_once(".parquet#"))
        else {
            continue;
        };
        let metadata = entry.metadata().with_context(|| entry.path().display().to_string())?;
        let modified: DateTime<Utc> = metadata.modified()?.into();
        if number.bytes().all(|byte| byte.is_ascii_digit()) && modified < since {
            staged.push((entry.path(), metadata.len()));
        }
    }
    staged.sort();
    Ok(staged)
}
