//! Scratch: rows that a stage computes once and reads several times, on disk instead of in memory. In: a frame. Out: a table of
//! that name in the session, in Parquet files of a folder that goes with the value: in `TMPDIR`, or beside the tables of a corpus whose
//! plans run on a cluster.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use datafusion::datasource::file_format::options::ReadOptions;
use datafusion::datasource::listing::{ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionContext};
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use crate::corpus::Corpus;
use crate::engine::{Engine, Here, planned};
use crate::location::local_folder;
use crate::scratch_file::{Part, ScratchFolder};
use crate::sink::{Sink, write, writing};

/// How the names of scratch folders begin.
const PREFIX: &str = "tuwen-scratch-";

/// A file in each, locked by the process that made it.
const LOCK: &str = "lock";

/// The folder of what a cluster's machines write for each other, in that of the corpus.
pub(crate) const SHARED_SCRATCH: &str = "_scratch/";

/// A folder in `TMPDIR` that goes with the value; with the next one of its kind on this machine, if the process is killed.
#[derive(Debug)]
pub struct OwnFolder {
    folder: TempDir,
    /// Locked as long as this process lives, however it ends.
    _lock: File,
}

impl OwnFolder {
    /// An empty one, whose name begins with `kind`, then the machine's.
    ///
    /// # Errors
    /// `TMPDIR` cannot be written to.
    pub fn new(kind: &str) -> Result<Self> {
        let (parent, prefix) = (std::env::temp_dir(), format!("{kind}{}-", host_name()));
        remove_dead(&parent, &prefix);
        loop {
            let made = || {
                let folder = tempfile::Builder::new().prefix(&prefix).tempdir()?;
                let lock = File::create(folder.path().join(LOCK))?;
                Ok::<_, std::io::Error>((folder, lock))
            };
            let (folder, lock) = made()
                .with_context(|| format!("making a folder {prefix}… in {}", parent.display()))?;
            // Where another was faster, it takes this one for a dead process's, and removes it, or has. Where nothing can be locked,
            // nobody takes it for that.
            let is_lost = matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
                || !folder.path().join(LOCK).exists();
            if !is_lost {
                return Ok(Self { folder, _lock: lock });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A folder of scratch tables.
#[derive(Debug)]
pub struct Scratch {
    engine: Arc<dyn Engine>,
    place: Place,
}

/// Where it lies. It goes with the value.
#[derive(Debug)]
enum Place {
    /// On this machine.
    Here(OwnFolder),
    /// Where all machines of a cluster reach it.
    Shared(SharedFolder),
}

impl Scratch {
    /// An empty one for plans that run on this machine.
    ///
    /// # Errors
    /// `TMPDIR` cannot be written to.
    pub fn new() -> Result<Self> {
        Ok(Self { engine: Arc::new(Here), place: Place::Here(OwnFolder::new(PREFIX)?) })
    }

    /// An empty one for plans over the tables of `corpus`, which run where that says.
    ///
    /// # Errors
    /// As [`Scratch::new`], or the corpus's store cannot be opened.
    pub async fn of(corpus: &Corpus) -> Result<Self> {
        if !corpus.engine().is_cluster() {
            return Self::new();
        }
        let folder = format!("{SHARED_SCRATCH}{}/", Uuid::now_v7());
        let url = corpus.root().join(&folder)?;
        let (store, _) = corpus.store().await?;
        let place = Place::Shared(SharedFolder { url, store });
        Ok(Self { engine: Arc::clone(corpus.engine()), place })
    }

    /// Computes `frame` and registers its rows with `ctx` under `name`, in the place of what stood there; returns their number.
    /// They are read in no particular order.
    ///
    /// # Errors
    /// The rows cannot be computed, or the disk is full.
    pub async fn hold(&self, ctx: &SessionContext, name: &str, frame: DataFrame) -> Result<u64> {
        let clock = std::time::Instant::now();
        let url = self.place.table(name)?;
        ctx.deregister_table(name)?;
        self.place.remove(&url).await?;
        let folder = ScratchFolder { url: url.to_string() };
        folder.make()?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        self.place.register(ctx);
        let (plan, context) = planned(self.engine.as_ref(), frame).await?;
        let plan = writing(plan, &Sink::Scratch(folder))?;
        let parts: Vec<Part> = write(self.engine.as_ref(), Arc::clone(&plan), context).await?;
        let urls = parts.iter().map(|part| {
            ListingTableUrl::try_new(url.join(&part.file)?, None).map_err(anyhow::Error::from)
        });
        let urls = urls.collect::<Result<Vec<_>>>()?;
        let options = ParquetReadOptions::default()
            .to_listing_options(&ctx.copied_config(), ctx.copied_table_options());
        let config = ListingTableConfig::new_with_multi_paths(urls)
            .with_listing_options(options)
            .with_schema(schema);
        ctx.register_table(name, Arc::new(ListingTable::try_new(config)?))?;
        let n_rows = parts.iter().map(|part| part.n_rows).sum();
        let seconds = clock.elapsed().as_secs_f64();
        tracing::debug!(step = name, n_rows, seconds, "{name}: {n_rows} rows in {seconds:.2} s");
        let metrics = DisplayableExecutionPlan::with_metrics(plan.as_ref());
        tracing::trace!(step = name, "{name}:\n{}", metrics.indent(false));
        Ok(n_rows)
    }

    /// The URLs of the files of table `name`.
    ///
    /// # Errors
    /// There is none in `ctx`.
    pub async fn files(&self, ctx: &SessionContext, name: &str) -> Result<Vec<String>> {
        let table = ctx.table_provider(name).await?;
        let table = table.downcast_ref::<ListingTable>();
        let paths = table.with_context(|| format!("{name}: no scratch table"))?.table_paths();
        Ok(paths.iter().map(|path| path.as_str().to_owned()).collect())
    }

    /// Makes an empty file `name` for other machines to see until it is removed, or the scratch is.
    ///
    /// # Errors
    /// The store fails.
    pub async fn mark(&self, name: &str) -> Result<Mark> {
        let mark = Mark { url: self.place.table("marks")?.join(name)?, store: self.place.store() };
        mark.renew().await?;
        Ok(mark)
    }

    /// Whether its tables are read by other machines.
    pub fn is_shared(&self) -> bool {
        self.engine.is_cluster()
    }

    /// Takes table `name` away, and its files.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn release(&self, ctx: &SessionContext, name: &str) -> Result<()> {
        ctx.deregister_table(name)?;
        self.place.remove(&self.place.table(name)?).await
    }
}

impl Place {
    /// The folder of table `name`, with a slash at its end.
    fn table(&self, name: &str) -> Result<Url> {
        match self {
            Self::Here(folder) => folder_url(&folder.path().join(name)),
            Self::Shared(folder) => folder.table(name),
        }
    }

    /// The whole store of its tables, as their URLs have it.
    fn store(&self) -> Arc<dyn ObjectStore> {
        match self {
            Self::Shared(folder) if local_folder(&folder.url).is_none() => {
                Arc::clone(&folder.store)
            }
            _ => Arc::new(LocalFileSystem::new()),
        }
    }

    /// Makes the store of its files known to `ctx`.
    fn register(&self, ctx: &SessionContext) {
        if let Self::Shared(folder) = self {
            folder.register(ctx);
        }
    }

    /// Removes the folder of a table, if it is there.
    async fn remove(&self, url: &Url) -> Result<()> {
        match self {
            Self::Here(_) => remove_folder(&path_of(url)?),
            Self::Shared(folder) => folder.remove(url).await,
        }
    }
}

/// A file that says something by being there.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Where it is.
    pub url: Url,
    store: Arc<dyn ObjectStore>,
}

impl Mark {
    fn path(&self) -> Result<StorePath> {
        Ok(StorePath::from_url_path(self.url.path())?)
    }

    /// Writes it anew, which says that its maker lives.
    ///
    /// # Errors
    /// The store fails.
    pub async fn renew(&self) -> Result<()> {
        self.store.put(&self.path()?, Vec::new().into()).await?;
        Ok(())
    }

    /// Removes it.
    ///
    /// # Errors
    /// The store fails.
    pub async fn remove(&self) -> Result<()> {
        Ok(self.store.delete(&self.path()?).await?)
    }
}

/// A folder in a corpus's store.
#[derive(Debug)]
struct SharedFolder {
    url: Url,
    /// The whole store.
    store: Arc<dyn ObjectStore>,
}

impl SharedFolder {
    /// Local folders are plain files to DataFusion, by whatever scheme the corpus has them.
    fn table(&self, name: &str) -> Result<Url> {
        let url = self.url.join(&format!("{name}/"))?;
        match local_folder(&url) {
            Some(path) => folder_url(&path),
            None => Ok(url),
        }
    }

    fn register(&self, ctx: &SessionContext) {
        if local_folder(&self.url).is_none() {
            ctx.register_object_store(&self.url, Arc::clone(&self.store));
        }
    }

    async fn remove(&self, url: &Url) -> Result<()> {
        if let Some(path) = local_folder(url) {
            return remove_folder(&path);
        }
        let found = self.store.list(Some(&StorePath::from_url_path(url.path())?));
        let paths = found.map_ok(|file| file.location).boxed();
        self.store.delete_stream(paths).try_collect::<Vec<_>>().await?;
        Ok(())
    }
}

impl Drop for SharedFolder {
    fn drop(&mut self) {
        if let Some(path) = local_folder(&self.url) {
            // What stays is for `tuwen vacuum`; and the folder of all, if another run has one in it.
            let _ = remove_folder(&path);
            let _ = path.parent().map(std::fs::remove_dir);
            return;
        }
        // A runtime of its own: that of the caller may end before.
        let folder = Self { url: self.url.clone(), store: Arc::clone(&self.store) };
        let folder = std::mem::ManuallyDrop::new(folder);
        let ended = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(folder.remove(&folder.url)))
        });
        let _ = ended.join();
    }
}

fn remove_folder(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Removes the folders of this machine's processes that were killed, whose locks nobody holds.
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

fn folder_url(folder: &Path) -> Result<Url> {
    Url::from_directory_path(folder)
        .map_err(|()| anyhow!("{}: not an absolute path", folder.display()))
}

fn path_of(url: &Url) -> Result<PathBuf> {
    url.to_file_path().map_err(|()| anyhow!("{url}: not a folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_made_at_once_are_all_there() {
        let kind = format!("tuwen-made-at-once-{}-", std::process::id());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let made = OwnFolder::new(&kind).unwrap();
                        assert!(made.path().join(LOCK).exists());
                    }
                });
            }
        });
    }

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
