//! What logs say. In: a table. Out: its properties, read or set, and the files that a commit has added.

use std::collections::HashMap;

use anyhow::{Context, Result};
use deltalake::kernel::{Action, Metadata, MetadataExt};
use deltalake::protocol::DeltaOperation;
use object_store::path::Path;
use serde::Deserialize;

use crate::commit::Author;
use crate::snapshot::Snapshot;

/// Name of the property by which Delta refuses to take rows away.
pub(crate) const APPEND_ONLY: &str = "delta.appendOnly";

/// A line of a commit, as far as it is about a file.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Line {
    /// A file that comes.
    pub(crate) add: Option<FileAction>,
}

/// A file that comes.
#[derive(Debug, Deserialize)]
pub(crate) struct FileAction {
    /// Percent-encoded, below the table's folder.
    path: String,
}

impl FileAction {
    /// Where it lies in the table's store.
    pub(crate) fn store_path(&self) -> Result<Path> {
        Ok(Path::from_url_path(&self.path)?)
    }
}

impl Snapshot {
    /// Sets properties of table `name`; its rows stay as they are.
    ///
    /// # Errors
    /// The log cannot be written, or another run was first.
    pub(crate) async fn set_properties(
        &mut self,
        name: &str,
        values: &[(&str, String)],
        author: &Author,
    ) -> Result<()> {
        let mut metadata: Metadata = self.delta(name).snapshot()?.metadata().clone();
        for (key, value) in values {
            metadata = metadata.add_config_key((*key).to_owned(), value.clone())?;
        }
        let properties: HashMap<String, String> =
            values.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let operation = DeltaOperation::SetTableProperties { properties };
        let actions = vec![Action::Metadata(metadata)];
        self.commit_actions(name, actions, operation, author).await?.or_overtaken(name)
    }

    /// A property of table `name`.
    pub(crate) fn property(&self, name: &str, key: &str) -> Option<String> {
        let state = self.delta(name).snapshot().ok()?;
        state.metadata().configuration().get(key).cloned()
    }

    /// The files that come and go with `version` of table `name`; none if the log does not have
    /// that commit any more.
    ///
    /// # Errors
    /// The store does not answer, or the commit is not JSON.
    pub(crate) async fn commit_lines(&self, name: &str, version: u64) -> Result<Option<Vec<Line>>> {
        let log = self.delta(name).log_store();
        let reading = || format!("reading commit {version} of table `{name}`");
        let Some(bytes) = log.read_commit_entry(version).await.with_context(reading)? else {
            return Ok(None);
        };
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<Line>();
        let lines: Result<Vec<Line>, _> = lines.collect();
        Ok(Some(lines.with_context(reading)?))
    }
}
