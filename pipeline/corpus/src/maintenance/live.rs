//! The files that lie in a table's folder. In: a snapshot. Out: what the store says of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use tuwen_schemas::TABLES;

use crate::snapshot::Snapshot;

/// A file that lies in a table's folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lying {
    /// Size.
    pub(crate) bytes: u64,
    /// When it was written.
    pub(crate) modified: DateTime<Utc>,
}

/// Data files by path; what begins with `_` or `.` is not data (Delta's log, say).
pub(crate) type Folder = BTreeMap<Path, Lying>;

impl Snapshot {
    /// The names of the tables that are there and not another corpus's.
    pub(crate) fn present(&self) -> Vec<&'static str> {
        let names = TABLES.iter().map(|table| table.name);
        names
            .filter(|name| self.version(name).is_some() && !self.corpus().is_shared(name))
            .collect()
    }

    /// The store of table `name`, whose root is the table's folder.
    pub(crate) fn store_of(&self, name: &str) -> Arc<dyn ObjectStore> {
        self.delta(name).log_store().object_store(None)
    }

    /// The data files that lie in the folder of table `name`, whether a version has them or not.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn folder(&self, name: &str) -> Result<Folder> {
        let store = self.store_of(name);
        let mut listed = store.list(None);
        let mut files = Folder::new();
        while let Some(file) = listed
            .try_next()
            .await
            .with_context(|| format!("listing the folder of table `{name}`"))?
        {
            let is_hidden = file.location.parts().any(|part| {
                let part = part.as_ref();
                part.starts_with('_') || part.starts_with('.')
            });
            if !is_hidden {
                let lying = Lying { bytes: file.size, modified: file.last_modified };
                files.insert(file.location, lying);
            }
        }
        Ok(files)
    }
}
