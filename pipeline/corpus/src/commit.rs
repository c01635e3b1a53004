//! The second half of a write: files to a new version of their table. In: files that are written, and the snapshot that they
//! were made from. Out: a version, or a conflict if another run has committed rows to that table since. Nothing is ever appended
//! to a version that its writer has not seen.

use anyhow::{Context, Result};
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake::kernel::{Action, Add, Remove, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableError};
use serde_json::{Value, json};

use crate::snapshot::Snapshot;
use crate::step::reach;

/// Application id of the transactions that commit rows. Delta refuses the second of two that were made from the same version
/// (`txn` in the protocol of Delta Lake; delta-rs: `ConcurrentTransaction`).
const APP_ID: &str = "tuwen";

/// Who commits, for Delta's commit info.
#[derive(Clone, Debug)]
pub struct Author {
    /// The stage or command.
    pub stage: &'static str,
    /// The run.
    pub run_id: String,
}

/// What a commit does to one table.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Files that become part of it.
    pub adds: Vec<Add>,
    /// Files that leave it.
    pub removes: Vec<Remove>,
    /// Whether the rows stay as they were, only in other files.
    pub only_rearranged: bool,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The rows are there; the snapshot stands at the new version.
    Yes,
    /// Another run was first; the snapshot and the table are as they were.
    Conflict,
}

impl Snapshot {
    /// Commits `change` to table `name` as one Delta transaction against this snapshot, and moves it to the new version.
    ///
    /// # Errors
    /// The log cannot be written. That another run was first is none.
    pub async fn commit(
        &mut self,
        name: &str,
        change: Change,
        author: &Author,
    ) -> Result<Committed> {
        reach("commit").await;
        let delta = self.delta(name);
        let state = delta.snapshot()?;
        let base = delta.version().context("a table that is written to has a version")?;
        let number = i64::try_from(base)? + 1;
        let properties =
            properties(author).with_application_transaction(Transaction::new(APP_ID, number));
        let operation = operation(&change);
        let adds = change
            .adds
            .into_iter()
            .map(|add| Action::Add(Add { data_change: !change.only_rearranged, ..add }));
        let removes = change.removes.into_iter().map(|remove| {
            Action::Remove(Remove { data_change: !change.only_rearranged, ..remove })
        });
        let commit = CommitBuilder::from(properties)
            .with_actions(adds.chain(removes).collect())
            .build(Some(state), delta.log_store(), operation);
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
}

/// What stands in Delta's commit info; old logs are `tuwen vacuum`'s to remove, since a training run may be pinned to them.
pub(crate) fn properties(author: &Author) -> CommitProperties {
    let info: [(String, Value); 3] = [
        ("runId".to_owned(), json!(author.run_id)),
        ("stage".to_owned(), json!(author.stage)),
        ("tuwenVersion".to_owned(), json!(env!("CARGO_PKG_VERSION"))),
    ];
    CommitProperties::default().with_metadata(info).with_cleanup_expired_logs(Some(false))
}

fn operation(change: &Change) -> DeltaOperation {
    if change.only_rearranged {
        return DeltaOperation::Optimize { predicate: None, target_size: 0 };
    }
    if change.removes.is_empty() {
        return DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: None,
            predicate: None,
        };
    }
    DeltaOperation::Update { predicate: None }
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
