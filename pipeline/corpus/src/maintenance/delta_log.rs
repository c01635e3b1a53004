//! The logs of tables. In: actions. Out: a version, or a conflict. And the
//! files that a commit has added, as the log says it.

use std::collections::HashMap;

use anyhow::{Context, Result};
use deltalake::kernel::transaction::{CommitBuilder, TransactionError};
use deltalake::kernel::{Action, Metadata, MetadataExt, Transaction};
use deltalake::protocol::DeltaOperation;
use deltalake::{DeltaTable, DeltaTableError};
use object_store::path::Path;
use serde::Deserialize;

use crate::commit::{Author, Committed, properties};
use crate::snapshot::Snapshot;
use crate::step::reach;

/// Application id of the transactions, the same as that of stages (`commit.rs`), so that a stage is
/// refused that did not see this commit. Those need it as well that only rearrange rows: delta-rs
/// sees no conflict in two commits that replace the same file if the first says that no data
/// changed, and the file's rows would be there twice.
const APP_ID: &str = "tuwen";

/// Name of the property by which Delta refuses to take rows away.
pub(crate) const APPEND_ONLY: &str = "delta.appendOnly";

/// Whether table `name` is made so that rows are only ever added to it.
pub(crate) fn is_append_only(name: &str) -> bool {
    name != "examples"
}

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
    /// Commits `actions` to table `name` as the version after that of this snapshot, or not at all, and
    /// moves the snapshot to it.
    ///
    /// # Errors
    /// The log cannot be written. That another run was first is none.
    pub(crate) async fn commit_actions(
        &mut self,
        name: &str,
        actions: Vec<Action>,
        operation: DeltaOperation,
        author: &Author,
    ) -> Result<Committed> {
        reach("commit").await;
        let delta = self.delta(name);
        let state = delta.snapshot()?;
        let base = delta.version().context("a table that is written to has a version")?;
        let transaction = Transaction::new(APP_ID, i64::try_from(base)? + 1);
        // Without retries delta-rs does not look whether another's commit is compatible: any is not.
        let properties =
            properties(author).with_application_transaction(transaction).with_max_retries(0);
        let commit = CommitBuilder::from(properties).with_actions(actions).build(
            Some(state),
            delta.log_store(),
            operation,
        );
        match Box::pin(commit.into_future()).await {
            Ok(done) => {
                let mut moved = DeltaTable::new(delta.log_store());
                moved.state = Some(done.snapshot());
                self.replace(name, moved);
                Ok(Committed::Yes)
            }
            Err(error) if is_conflict(&error) => Ok(Committed::Conflict),
            Err(error) => Err(error).with_context(|| format!("committing to table `{name}`")),
        }
    }

    /// Sets properties of table `name`; its rows stay as they are.
    ///
    /// # Errors
    /// As [`Snapshot::commit_actions`], or another run was first.
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

impl Committed {
    /// An error if another run was first.
    pub(crate) fn or_overtaken(self, name: &str) -> Result<()> {
        match self {
            Self::Yes => Ok(()),
            Self::Conflict => anyhow::bail!(
                "table `{name}`: another run committed to it meanwhile\nhint: run this again"
            ),
        }
    }
}

fn is_conflict(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source: TransactionError::CommitConflict(_)
                    | TransactionError::MaxCommitAttempts(_)
            }
    )
}
