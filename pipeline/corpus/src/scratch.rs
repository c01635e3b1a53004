//! Scratch: rows that a stage computes once and reads several times, on disk instead of in memory. In: a frame. Out: a table of
//! that name in the session, in Parquet files of a folder in `TMPDIR` that goes with the value.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::execute_stream_partitioned;
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionContext};
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Rows a row group: what a reader decodes at once, and the unit by which cores share a file.
const ROW_GROUP_ROWS: usize = 64 << 10;

/// How the names of scratch folders begin; then the machine's.
const PREFIX: &str = "tuwen-scratch-";

/// A file in each, locked by the process that made it.
const LOCK: &str = "lock";

/// A folder of scratch tables.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    /// Locked as long as this process lives, however it ends.
    _lock: File,
}

impl Scratch {
    /// An empty one.
    ///
    /// # Errors
    /// `TMPDIR` cannot be written to.
    pub fn new() -> Result<Self> {
        let (parent, prefix) = (std::env::temp_dir(), format!("{PREFIX}{}-", host_name()));
        remove_dead(&parent, &prefix);
        loop {
            let made = || {
                let folder = tempfile::Builder::new().prefix(&prefix).tempdir()?;
                let lock = File::create(folder.path().join(LOCK))?;
                Ok::<_, std::io::Error>((folder, lock))
            };
            let (folder, lock) = made().with_context(|| {
                format!("making a folder for scratch tables in {}", parent.display())
            })?;
            // Where another was faster, it takes this one for a dead process's, and removes it. Where nothing can be locked, nobody
            // takes it for that.
            if !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
                return Ok(Self { folder, _lock: lock });
            }
        }
    }

    /// Computes `frame` and registers its rows with `ctx` under `name`, in the place of what stood there; returns their number.
    /// They are read in no particular order.
    ///
    /// # Errors
    /// The rows cannot be computed, or the disk is full.
    pub async fn hold(&self, ctx: &SessionContext, name: &str, frame: DataFrame) -> Result<u64> {
        let clock = std::time::Instant::now();
        let folder = self.folder.path().join(name);
        if folder.exists() {
            self.release(ctx, name)?;
        }
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let mut tasks = JoinSet::new();
        let context = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await?;
        let streams = execute_stream_partitioned(Arc::clone(&plan), context)?;
        for (i, stream) in streams.into_iter().enumerate() {
            let path = folder.join(format!("{i}.parquet"));
            tasks.spawn(write(stream, path));
        }
        let mut n_rows = 0;
        while let Some(written) = tasks.join_next().await {
            n_rows += written.context("a task that computes rows panicked")??;
        }
        ctx.deregister_table(name)?;
        let options = ParquetReadOptions::default().schema(&schema);
        ctx.register_parquet(name, folder_url(&folder)?, options).await?;
        let seconds = clock.elapsed().as_secs_f64();
        tracing::debug!(step = name, n_rows, seconds, "{name}: {n_rows} rows in {seconds:.2} s");
        let metrics = DisplayableExecutionPlan::with_metrics(plan.as_ref());
        tracing::trace!(step = name, "{name}:\n{}", metrics.indent(false));
        Ok(n_rows)
    }
}

impl Scratch {
    /// Takes table `name` away, and its files.
    ///
    /// # Errors
    /// The disk fails.
    pub fn release(&self, ctx: &SessionContext, name: &str) -> Result<()> {
        ctx.deregister_table(name)?;
        let folder = self.folder.path().join(name);
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())
    }
}

/// Removes the scratch folders of this machine's processes that were killed, whose locks nobody holds.
fn remove_dead(parent: &Path, prefix: &str) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        // The lock is held until the folder is gone: who has just made it tries to lock it, and makes another.
        if let Ok(lock) = File::open(entry.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            // One that cannot be removed is for its owner to see to.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The machine's name, as far as it can be part of a file's; locks say nothing of the processes of another.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.chars().filter(|c| c.is_ascii_alphanumeric()).collect()
}

fn folder_url(folder: &Path) -> Result<String> {
    let url = url::Url::from_directory_path(folder);
    Ok(url.map_err(|()| anyhow::anyhow!("{}: not an absolute path", folder.display()))?.to_string())
}

async fn write(mut stream: SendableRecordBatchStream, path: PathBuf) -> Result<u64> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    let mut writer = ArrowWriter::try_new(file, stream.schema(), Some(properties))?;
    let mut n_rows = 0;
    while let Some(batch) = stream.try_next().await? {
        n_rows += batch.num_rows() as u64;
        writer.write(&batch).with_context(|| path.display().to_string())?;
    }
    writer.close().with_context(|| path.display().to_string())?;
    Ok(n_rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_dead_processes_go_and_those_of_living_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            (File::create(path.join(LOCK)).unwrap(), path)
        };
        let (_dead, dead_path) = make("tuwen-scratch-a-dead");
        let (alive, alive_path) = make("tuwen-scratch-a-alive");
        let (_other, other_path) = make("tuwen-scratch-b-of-another-machine");
        alive.try_lock().unwrap();
        remove_dead(folder.path(), "tuwen-scratch-a-");
        assert!(!dead_path.exists() && alive_path.exists() && other_path.exists());
    }
}
