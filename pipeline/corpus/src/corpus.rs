//! The tables of a corpus, one by one. In: its folder. Out: a table as Delta has it, at any version, or made now; the store it lies
//! in. Opening is `open.rs`'s, reading and writing that of a [`Snapshot`](crate::Snapshot).

use std::sync::Arc;

use anyhow::{Context, Result};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{StructField, StructType};
use deltalake::{DeltaTable, DeltaTableBuilder};
use object_store::ObjectStore;
use object_store::path::Path;
use tuwen_schemas::Table;
use url::Url;

use crate::contract::SCHEMA_PROPERTY;
use crate::engine::{Engine, Here};
use crate::location::local_folder;

/// Commits between two checkpoints of a table's log: opening a table reads at most so many commits one by one.
pub(crate) const CHECKPOINT_INTERVAL: &str = "20";

/// Whether other programs' commits delete old logs, which a training run may be pinned to; ours do not.
pub(crate) const LOG_CLEANUP_PROPERTY: &str = "delta.enableExpiredLogCleanup";

/// Whether rows are only ever added to table `name`.
pub(crate) fn is_append_only(name: &str) -> bool {
    !["examples", "images"].contains(&name)
}

/// An opened corpus.
#[derive(Clone, Debug)]
pub struct Corpus {
    pub(crate) root: Url,
    /// The corpus whose originals it shares.
    pub(crate) base: Option<Url>,
    pub(crate) engine: Arc<dyn Engine>,
}

impl Corpus {
    /// A corpus of its own in folder `root`.
    pub(crate) fn at(root: Url) -> Self {
        Self { root, base: None, engine: Arc::new(Here) }
    }

    /// The folder, with a slash at its end.
    pub fn root(&self) -> &Url {
        &self.root
    }

    /// What computes over its tables.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// The same corpus, over whose tables `engine` computes.
    #[must_use]
    pub fn on(self, engine: Arc<dyn Engine>) -> Self {
        Self { engine, ..self }
    }

    /// Table `name` at `version`, or the newest; one without a version if there is none.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn delta(&self, name: &str, version: Option<u64>) -> Result<DeltaTable> {
        let url = self.root_of(name).join(&format!("{name}/"))?;
        let is_missing = local_folder(&url).is_some_and(|path| !path.exists());
        let mut builder = DeltaTableBuilder::from_url(url)?;
        if let Some(version) = version {
            builder = builder.with_version(version);
        }
        let mut delta = builder.build().with_context(|| format!("table `{name}`"))?;
        if is_missing {
            return Ok(delta);
        }
        let read = match version {
            Some(version) => Box::pin(delta.load_version(version)).await,
            None => Box::pin(delta.load()).await,
        };
        match read {
            Ok(()) | Err(deltalake::DeltaTableError::NotATable(_)) => Ok(delta),
            Err(error) => Err(error).with_context(|| format!("reading the log of table `{name}`")),
        }
    }

    /// The store that the corpus lies in, and where in it.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub async fn store(&self) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let builder = DeltaTableBuilder::from_url(self.root.clone())?;
        let store = builder.build_storage()?.root_object_store(None);
        Ok((store, Path::from_url_path(self.root.path())?))
    }

    /// Makes `table`; one that another process makes at the same time is taken as it is.
    pub(crate) async fn create(&self, table: &Table) -> Result<DeltaTable> {
        let delta = self.delta(table.name, None).await?;
        if delta.version().is_some() {
            return Ok(delta);
        }
        let contract: StructType = table.schema.as_ref().try_into_kernel()?;
        let fields: Vec<StructField> = contract.fields().cloned().collect();
        let append_only = is_append_only(table.name);
        let made = Box::pin(
            delta
                .create()
                .with_table_name(table.name)
                .with_columns(fields)
                .with_raise_if_key_not_exists(false)
                .with_configuration([
                    (SCHEMA_PROPERTY, Some(table.version.to_string())),
                    (
                        "delta.dataSkippingStatsColumns",
                        Some(table.schema.field(0).name().to_owned()),
                    ),
                    ("delta.appendOnly", Some(append_only.to_string())),
                    ("delta.checkpointInterval", Some(CHECKPOINT_INTERVAL.to_owned())),
                    (LOG_CLEANUP_PROPERTY, Some("false".to_owned())),
                ])
                .into_future(),
        )
        .await;
        match made {
            Ok(delta) => Ok(delta),
            Err(error) => {
                let delta = self.delta(table.name, None).await?;
                if delta.version().is_some() { Ok(delta) } else { Err(error.into()) }
            }
        }
    }
}
