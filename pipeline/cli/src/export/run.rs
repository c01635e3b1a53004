//! An export from its beginning to its end. In: a snapshot, options. Out: a folder, or a part of it that the next run completes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;
use tuwen_corpus::Snapshot;
use tuwen_corpus::report::{Outcome, Progress};
use tuwen_settings::Settings;

use super::card::card;
use super::columns::Layout;
use super::folder::{Folder, Found, look};
use super::options::{Options, Pictures};
use super::plan::{Manifest, Plan, ShardFile};
use super::rows::{selection, session, shards};
use super::shard::Shard;
use super::summary::Summary;
use super::worker::{Done, Job, work};

/// Tables that the rows of an export follow from.
const SOURCES: [&str; 4] = ["pairs", "originals", "images", "examples"];

/// Writes the export that `options` ask for, or what is missing of it, from the versions that it was begun with.
///
/// # Errors
/// Nothing is selected, or the condition is wrong; the folder holds something else; a picture is damaged; the disk is full.
pub(crate) async fn export(
    mut snapshot: Snapshot,
    settings: &Settings,
    options: Options,
    stop: &CancellationToken,
) -> Result<Summary> {
    let clock = Instant::now();
    let mut plan = Plan::of(&options, settings, &snapshot)?;
    match look(&options.folder)? {
        Found::Nothing => {}
        Found::Begun(begun) => {
            check_same(&options, &begun, &plan)?;
            pin(&mut snapshot, &options, &begun).await?;
            plan = begun;
        }
        Found::Whole(whole) => {
            check_same(&options, &whole.plan, &plan)?;
            check_versions(&options, &whole.plan, &plan)?;
            if whole.shards.iter().all(|shard| is_there(&options, shard)) {
                return Ok(summary(&options, whole, clock));
            }
            pin(&mut snapshot, &options, &whole.plan).await?;
            remove_damaged(&options, &whole.shards)?;
            plan = whole.plan;
        }
    }
    let ctx = session(&snapshot, settings).await?;
    let selection = selection(&ctx, &options).await?;
    if selection.clone().count().await? == 0 {
        let splits = plan.splits.join(", ");
        bail!(
            "nothing is selected: no example of {splits}{}\n\
             hint: tuwen sql \"select split, reject_reason, count(*) from examples group by all\"",
            plan.predicate.as_ref().map_or_else(String::new, |text| format!(" has {text}"))
        );
    }
    let (table, column) = match options.pictures {
        Pictures::Original => ("originals", "bytes"),
        Pictures::Decoded => ("images", "pixels"),
    };
    let pictures = Arc::new(snapshot.pictures(table, column)?);
    let folder = Arc::new(Folder::begin(&options.folder, &plan)?);
    let planned = Box::pin(shards(&ctx, selection, &pictures, &options, folder.work("rows")));
    let Some(selected) = stop.run_until_cancelled(planned).await.transpose()? else {
        folder.clear()?;
        let rows = BTreeMap::new();
        let manifest = Manifest { plan, rows, without_picture: 0, shards: Vec::new() };
        let mut summary = summary(&options, manifest, clock);
        summary.outcome = Outcome::Interrupted;
        return Ok(summary);
    };
    if selected.shards.is_empty() {
        folder.abandon()?;
        bail!(
            "no picture file is left of the {} pairs that are selected\n\
             hint: --pictures decoded has their pixels",
            selected.without_picture
        );
    }
    if selected.without_picture > 0 {
        tracing::warn!(
            "{} pairs are left out: their picture files are lost; --pictures decoded has their pixels",
            selected.without_picture
        );
    }
    let is_missing = |shard: &&Shard| !folder.path(&shard.name(options.format)).exists();
    let missing: Vec<Shard> = selected.shards.iter().filter(is_missing).cloned().collect();
    let n_missing = missing.iter().map(|shard| shard.n_rows).sum();
    let Options { format, pictures: which, columns, .. } = &options;
    let layout = Arc::new(Layout::new(*format, *which, columns, &selected.schema)?);
    let job = Arc::new(Job {
        options: options.clone(),
        layout: Arc::clone(&layout),
        folder: Arc::clone(&folder),
        pictures,
        shards: missing,
        progress: Progress::start("export", n_missing),
        stop: stop.clone(),
        done: Done::default(),
    });
    let worked = work(&job).await;
    job.progress.finish();
    if let Err(error) = worked {
        // What went wrong is said; a folder that cannot be cleared is cleared by the next run.
        let _ = folder.clear();
        return Err(error);
    }
    let shard_file = |shard: &Shard| {
        let path = shard.name(options.format);
        let bytes = std::fs::metadata(folder.path(&path)).map_or(0, |file| file.len());
        ShardFile { path, rows: shard.n_rows, bytes }
    };
    let manifest = Manifest {
        plan,
        rows: selected.rows,
        without_picture: selected.without_picture,
        shards: selected.shards.iter().map(shard_file).collect(),
    };
    let n_there = job.shards.iter().filter(|shard| !is_missing(shard)).count();
    let n_shards = job.shards.len();
    let (rows, bytes) = (&job.done.rows, &job.done.bytes);
    let (rows, bytes) = (rows.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
    drop(job);
    let mut summary = summary(&options, manifest.clone(), clock);
    summary.shards_written = n_there;
    summary.rows_written = rows;
    summary.bytes_written = bytes;
    if n_there < n_shards {
        summary.outcome = Outcome::Interrupted;
        folder.clear()?;
        return Ok(summary);
    }
    folder.put(&card(snapshot, settings, &manifest, &layout).await?, "README.md")?;
    let folder = Arc::into_inner(folder).context("a thread still writes shards")?;
    folder.finish(&manifest)?;
    summary.seconds = clock.elapsed().as_secs_f64();
    Ok(summary)
}

fn check_same(options: &Options, there: &Plan, asked: &Plan) -> Result<()> {
    let Some(difference) = there.difference(asked)? else { return Ok(()) };
    bail!(
        "-o {}: it holds another export: {difference}\n\
         hint: another folder, or remove this one",
        options.folder.display()
    );
}

fn check_versions(options: &Options, there: &Plan, now: &Plan) -> Result<()> {
    let version = |plan: &Plan, table: &str| plan.versions.get(table).copied().unwrap_or(-1);
    let changed = |table: &&str| version(there, table) != version(now, table);
    // A condition may speak of scores.
    let scores = there.predicate.as_ref().map(|_| "scores");
    let Some(table) = SOURCES.iter().copied().chain(scores).find(changed) else { return Ok(()) };
    bail!(
        "-o {}: it holds version {} of {table}, which is at version {} now\n\
         hint: another folder, or remove this one",
        options.folder.display(),
        version(there, table),
        version(now, table)
    );
}

/// Moves `snapshot` to the versions of an export that was begun; a table that came later is empty, as it was then.
async fn pin(snapshot: &mut Snapshot, options: &Options, begun: &Plan) -> Result<()> {
    for table in snapshot.versions().keys().filter(|table| !begun.versions.contains_key(*table)) {
        snapshot.leave_out(table);
    }
    for (table, version) in &begun.versions {
        if snapshot.version(table) != Some(*version) {
            let pinned = snapshot.pin(table, u64::try_from(*version)?).await;
            pinned.with_context(|| {
                format!(
                    "-o {}: it was begun with version {version} of {table}, which can no longer be read; remove it",
                    options.folder.display()
                )
            })?;
        }
    }
    Ok(())
}

/// Removes shards that are not as long as they were, so that they are made anew.
fn remove_damaged(options: &Options, shards: &[ShardFile]) -> Result<()> {
    for shard in shards.iter().filter(|shard| !is_there(options, shard)) {
        let path = options.folder.join(&shard.path);
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn is_there(options: &Options, shard: &ShardFile) -> bool {
    let file = std::fs::metadata(options.folder.join(&shard.path));
    file.is_ok_and(|file| file.len() == shard.bytes)
}

fn summary(options: &Options, manifest: Manifest, clock: Instant) -> Summary {
    Summary {
        outcome: Outcome::Ok,
        folder: options.folder.display().to_string(),
        format: options.format,
        pictures: options.pictures,
        versions: manifest.plan.versions,
        rows: manifest.rows,
        without_picture: manifest.without_picture,
        shards: manifest.shards.len(),
        shards_written: 0,
        rows_written: 0,
        bytes_written: 0,
        seconds: clock.elapsed().as_secs_f64(),
    }
}
