//! The second half of a write: files to a new version of their table. In: files that are written, and the snapshot that they
//! were made from. Out: a version, or a conflict if another run has committed rows to that table since. Nothing is ever appended
//! to a version that its writer has not seen.

use anyhow::{Context, Result, bail};
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake::kernel::{Action, Add, Remove, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::snapshot::Snapshot;
use crate::step::reach;

/// Application id of the transactions. Delta refuses the second of two that were made from the same version (`txn` in the protocol
/// of Delta Lake; delta-rs: `ConcurrentTransaction`). Those need it as well that only rearrange rows: delta-rs sees no conflict in
/// two commits that replace the same file if the first says that no data changed, and the file's rows would be there twice.
const APP_ID: &str = "tuwen";

/// Key in Delta's commit info of what tells a commit from any other.
const COMMIT_ID: &str = "commitId";

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

impl Change {
    /// Whether it leaves the table as it is.
    pub fn is_empty(&self) -> bool {
        self.adds.is_empty() && self.removes.is_empty()
    }
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
        let is_append_only = self.delta(name).snapshot()?.table_config().append_only == Some(true);
        if is_append_only && !change.removes.is_empty() && !change.only_rearranged {
            bail!(
                "table `{name}` is append-only, as older versions of tuwen made it\nhint: tuwen migrate"
            );
        }
        let operation = operation(&change);
        let data_change = !change.only_rearranged;
        let adds = change.adds.into_iter().map(|add| Action::Add(Add { data_change, ..add }));
        let removes = change.removes.into_iter();
        let removes = removes.map(|remove| Action::Remove(Remove { data_change, ..remove }));
        self.commit_actions(name, adds.chain(removes).collect(), operation, author).await
    }

    /// Commits `actions` to table `name` as the version after that of this snapshot, or not at all, and moves the snapshot to it.
    ///
    /// # Errors
    /// As [`Snapshot::commit`].
    pub(crate) async fn commit_actions(
        &mut self,
        name: &str,
        actions: Vec<Action>,
        operation: DeltaOperation,
        author: &Author,
    ) -> Result<Committed> {
        reach("commit").await;
        self.corpus().check_own(name)?;
        let delta = self.delta(name);
        let state = delta.snapshot()?;
        let base = delta.version().context("a table that is written to has a version")?;
        let transaction = Transaction::new(APP_ID, i64::try_from(base)? + 1);
        let commit_id = Uuid::new_v4().to_string();
        // Without retries delta-rs does not look whether another's commit is compatible: any is not.
        let properties = properties(author, &commit_id)
            .with_application_transaction(transaction)
            .with_max_retries(0);
        let commit = CommitBuilder::from(properties).with_actions(actions).build(
            Some(state),
            delta.log_store(),
            operation,
        );
        let moved = match Box::pin(commit.into_future()).await {
            Ok(done) => {
                let mut moved = DeltaTable::new(delta.log_store());
                moved.state = Some(done.snapshot());
                moved
            }
            Err(error) => {
                // It may stand all the same: a store that was asked again, because its first answer was lost, finds our own file and
                // says that it is there; or what comes after a commit has failed, such as a checkpoint.
                let stands = self.commit_id(name, base + 1).await.map(|id| id == Some(commit_id));
                match (stands, is_conflict(&error)) {
                    (Ok(true), is_conflict) => {
                        if !is_conflict {
                            tracing::warn!("table `{name}`: committed, and then: {error}");
                        }
                        self.corpus().delta(name, Some(base + 1)).await?
                    }
                    (Ok(false), true) => return Ok(Committed::Conflict),
                    (Err(unknown), true) => return Err(unknown),
                    (_, false) => {
                        return Err(error).with_context(|| format!("committing to table `{name}`"));
                    }
                }
            }
        };
        self.replace(name, moved);
        Ok(Committed::Yes)
    }

    /// The id in the commit info of `version` of table `name`; none if it is not one of ours, or not there.
    async fn commit_id(&self, name: &str, version: u64) -> Result<Option<String>> {
        let log = self.delta(name).log_store();
        let Some(bytes) = log.read_commit_entry(version).await? else { return Ok(None) };
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        let mut ids =
            lines.filter_map(|line| Some(line.ok()?["commitInfo"][COMMIT_ID].as_str()?.to_owned()));
        Ok(ids.next())
    }
}

/// What stands in Delta's commit info. Old logs stay, since a training run may be pinned to them.
fn properties(author: &Author, commit_id: &str) -> CommitProperties {
    let info: [(String, Value); 4] = [
        (COMMIT_ID.to_owned(), json!(commit_id)),
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
