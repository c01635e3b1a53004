//! Opening a corpus. In: its location. Out: a corpus whose tables are there and keep their contracts, or are made now.

use anyhow::{Context, Result, bail};
use tuwen_schemas::TABLES;

use crate::corpus::Corpus;
use crate::location::{local_folder, root_url};
use crate::snapshot::Snapshot;

/// Tables that a corpus may lack: those made before tuwen had them. They are read as empty, and made when first written to.
pub(crate) const MAY_LACK: [&str; 2] = ["captions", "scores"];

impl Corpus {
    /// Opens the corpus at `location` (a path or URL) and checks every table against its contract.
    ///
    /// # Errors
    /// No corpus there; a table missing, of a newer version, or with other columns.
    pub async fn open(location: &str) -> Result<Self> {
        Ok(Self::open_snapshot(location).await?.0)
    }

    /// As [`Corpus::open`], also if tables are missing: they are read as empty, and `tuwen migrate --make-missing` makes them.
    ///
    /// # Errors
    /// As [`Corpus::open`], but for missing tables.
    pub async fn open_incomplete(location: &str) -> Result<Self> {
        Ok(Self::found(location).await?.0)
    }

    /// As [`Corpus::open`], with the snapshot that the check has read.
    ///
    /// # Errors
    /// As [`Corpus::open`].
    pub async fn open_snapshot(location: &str) -> Result<(Self, Snapshot)> {
        let (corpus, snapshot, missing) = Self::found(location).await?;
        if !missing.is_empty() {
            bail!(
                "corpus `{location}`: table `{}` is missing\n\
                 hint: put its folder back, or `tuwen migrate --make-missing --corpus {location}` makes it anew, empty",
                missing.join("`, `")
            );
        }
        Ok((corpus, snapshot))
    }

    /// The corpus at `location`, and those of its tables that are missing, which are not all.
    async fn found(location: &str) -> Result<(Self, Snapshot, Vec<&'static str>)> {
        let mut corpus = Self::at(root_url(location)?);
        if local_folder(&corpus.root).is_some_and(|folder| !folder.exists()) {
            bail!(no_corpus(location));
        }
        corpus.base = corpus.shared_with().await?;
        let snapshot = corpus.snapshot().await?;
        let missing: Vec<&'static str> = TABLES
            .iter()
            .map(|table| table.name)
            .filter(|name| snapshot.version(name).is_none() && !MAY_LACK.contains(name))
            .collect();
        if let Some(base) = corpus.lost_base(&missing) {
            bail!(
                "corpus `{location}` shares the originals of {base}, where no corpus is (any more)\n\
                 hint: tuwen decode --corpus {location} --originals-of FOLDER, with where it lies now"
            );
        }
        if missing.len() == TABLES.len() - MAY_LACK.len() {
            bail!(no_corpus(location));
        }
        Ok((corpus, snapshot, missing))
    }

    /// Opens the corpus at `location`, making whichever of its tables are not there.
    ///
    /// # Errors
    /// The location cannot be written to, or what is there is not a corpus of this version.
    pub async fn open_or_create(location: &str) -> Result<Self> {
        let root = root_url(location)?;
        if let Some(path) = local_folder(&root) {
            std::fs::create_dir_all(&path)
                .with_context(|| format!("corpus `{location}`: cannot make the folder"))?;
        }
        let mut corpus = Self::at(root);
        corpus.base = corpus.shared_with().await?;
        let snapshot = corpus.snapshot().await?;
        for table in TABLES.iter().filter(|table| snapshot.version(table.name).is_none()) {
            corpus.create(table).await.with_context(|| {
                format!("corpus `{location}`: cannot make table `{}`", table.name)
            })?;
        }
        Ok(corpus)
    }

    /// All tables at their newest versions, each log read once.
    ///
    /// # Errors
    /// A log cannot be read, or a table does not keep its contract.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::newest(self.clone()).await
    }
}

fn no_corpus(location: &str) -> String {
    format!(
        "no corpus at `{location}`: expected a folder with the tables pairs, originals, images, examples, runs\n\
         hint: `tuwen fetch CSV --corpus {location}` makes one"
    )
}
