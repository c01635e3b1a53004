//! A Delta table at one version. In: the corpus's location, a table's name, a version or none. Out: its live data files, and
//! its rows to DataFusion. Never writes, and refuses a table whose files do not hold its rows as they stand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::prelude::SessionContext;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use object_store::ObjectStore;

use crate::read::LiveFile;
use tuwen_corpus::location::{local_folder, table_url};
use tuwen_corpus::{PlainFile, plain_files};

/// A table opened at a version, which later commits do not change.
pub(crate) struct PinnedTable {
    name: &'static str,
    version: u64,
    delta: DeltaTable,
    /// Where the table lies, if on a file system of this machine.
    folder: Option<PathBuf>,
}

impl PinnedTable {
    /// Opens table `name` of the corpus at `location`, at `version` or the newest.
    pub(crate) async fn open(
        location: &str,
        name: &'static str,
        version: Option<u64>,
    ) -> Result<Self> {
        Self::open_if_there(location, name, version).await?.with_context(|| {
            format!(
                "corpus `{location}`: expected a Delta table in `{name}`, found none\n\
                 hint: `tuwen run` makes the tables of a corpus"
            )
        })
    }

    /// The same of a table that a corpus may lack; none if it does.
    pub(super) async fn open_if_there(
        location: &str,
        name: &'static str,
        version: Option<u64>,
    ) -> Result<Option<Self>> {
        let url = table_url(location, name)?;
        let folder = local_folder(&url);
        if folder.as_ref().is_some_and(|folder| !folder.join("_delta_log").is_dir()) {
            return Ok(None);
        }
        let builder = DeltaTableBuilder::from_url(url)?;
        let (builder, wanted) = match version {
            Some(version) => (builder.with_version(version), format!("version {version}")),
            None => (builder, "the newest version".to_owned()),
        };
        let delta = match builder.load().await {
            Err(DeltaTableError::NotATable(_)) => return Ok(None),
            opened => opened.with_context(|| {
                format!("corpus `{location}`: opening table `{name}` at {wanted}")
            })?,
        };
        let version = delta.version().with_context(|| format!("table `{name}` has no version"))?;
        Ok(Some(Self { name, version, delta, folder }))
    }

    /// The version it is opened at.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// How messages name it.
    pub(crate) fn label(&self) -> String {
        format!("table `{}` version {}", self.name, self.version)
    }

    /// Where the table lies, if on a file system of this machine.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The store whose root is the table's folder.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        self.delta.log_store().object_store(None)
    }

    /// Makes the table known to `ctx` under its name.
    pub(crate) async fn register(&self, ctx: &SessionContext) -> Result<()> {
        self.delta.update_datafusion_session(&ctx.state())?;
        ctx.register_table(self.name, self.delta.table_provider().await?)?;
        Ok(())
    }

    /// The live files, oldest first (by the time in the log, then by path), for a reader that takes `columns` from the files
    /// themselves.
    ///
    /// # Errors
    /// The files alone do not say what the rows are: deletion vectors, mapped column names, one of `columns` kept in the
    /// partition values, or files of another table.
    pub(crate) fn files(&self, columns: &[&str]) -> Result<Vec<LiveFile>> {
        let label = self.label();
        let partitions = self.delta.snapshot()?.metadata().partition_columns().to_vec();
        if let Some(column) = columns.iter().find(|column| partitions.iter().any(|p| p == *column))
        {
            bail!(
                "{label}: expected column `{column}` in the data files, but the table is partitioned by it"
            );
        }
        let files = plain_files(&label, &self.delta)?;
        let live = files.into_iter().map(|PlainFile { path, store_path, bytes, .. }| LiveFile {
            path,
            store_path,
            size_bytes: bytes,
        });
        Ok(live.collect())
    }
}
