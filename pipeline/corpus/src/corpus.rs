//! Opening a corpus. In: its location. Out: a corpus whose tables are there, or made now. Reading is [`Snapshot`]'s, writing
//! [`Snapshot::append`]'s and [`Snapshot::commit`]'s.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{StructField, StructType};
use deltalake::{DeltaTable, DeltaTableBuilder};
use object_store::ObjectStore;
use object_store::path::Path;
use tuwen_schemas::{TABLES, Table};
use url::Url;

use crate::contract::SCHEMA_PROPERTY;
use crate::location::root_url;
use crate::snapshot::Snapshot;

/// Tables that a corpus may lack: those made before tuwen had them. They are read as empty, and made when first written to.
const MAY_LACK: [&str; 1] = ["captions"];

/// Commits between two checkpoints of a table's log: opening a table reads at most so many commits one by one.
pub(crate) const CHECKPOINT_INTERVAL: &str = "20";

/// An opened corpus.
#[derive(Clone, Debug)]
pub struct Corpus {
    root: Url,
}

impl Corpus {
    /// Opens the corpus at `location` (a path or URL) and checks every table against its contract.
    ///
    /// # Errors
    /// No corpus there; a table missing, of a newer version, or with other columns.
    pub async fn open(location: &str) -> Result<Self> {
        Ok(Self::open_snapshot(location).await?.0)
    }

    /// As [`Corpus::open`], with the snapshot that the check has read.
    ///
    /// # Errors
    /// As [`Corpus::open`].
    pub async fn open_snapshot(location: &str) -> Result<(Self, Snapshot)> {
        let corpus = Self { root: root_url(location)? };
        let snapshot = corpus.snapshot().await?;
        let missing: Vec<&str> = TABLES
            .iter()
            .map(|table| table.name)
            .filter(|name| snapshot.version(name).is_none() && !MAY_LACK.contains(name))
            .collect();
        if missing.len() == TABLES.len() - MAY_LACK.len() {
            bail!(
                "no corpus at `{location}`: expected a folder with the tables pairs, originals, images, examples, runs\n\
                 hint: `tuwen fetch CSV --corpus {location}` makes one"
            );
        }
        if !missing.is_empty() {
            bail!("corpus `{location}`: table `{}` is missing", missing.join("`, `"));
        }
        Ok((corpus, snapshot))
    }

    /// Opens the corpus at `location`, making whichever of its tables are not there.
    ///
    /// # Errors
    /// The location cannot be written to, or what is there is not a corpus of this version.
    pub async fn open_or_create(location: &str) -> Result<Self> {
        let root = root_url(location)?;
        if let Ok(path) = root.to_file_path() {
            std::fs::create_dir_all(&path)
                .with_context(|| format!("corpus `{location}`: cannot make the folder"))?;
        }
        let corpus = Self { root };
        let snapshot = corpus.snapshot().await?;
        for table in TABLES.iter().filter(|table| snapshot.version(table.name).is_none()) {
            corpus.create(table).await.with_context(|| {
                format!("corpus `{location}`: cannot make table `{}`", table.name)
            })?;
        }
        Ok(corpus)
    }

    /// The folder, with a slash at its end.
    pub fn root(&self) -> &Url {
        &self.root
    }

    /// All tables at their newest versions, each log read once.
    ///
    /// # Errors
    /// A log cannot be read, or a table does not keep its contract.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::newest(self.clone()).await
    }

    /// Table `name` at `version`, or the newest; one without a version if there is none.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn delta(&self, name: &str, version: Option<u64>) -> Result<DeltaTable> {
        let url = self.root.join(&format!("{name}/"))?;
        let is_missing = url.to_file_path().is_ok_and(|path| !path.exists());
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
        let append_only = table.name != "examples";
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
