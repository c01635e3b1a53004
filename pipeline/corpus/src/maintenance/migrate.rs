//! `tuwen migrate`. In: a corpus that an older tuwen made. Out: tables that keep the newest version
//! of their contracts: with all columns, with the properties of a table made now, and none missing.
//! Rows that are there stay as they are; in a new column they are null. A table is migrated in one
//! commit, or not at all.

use anyhow::Result;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{Action, MetadataExt, StructField, StructType};
use deltalake::protocol::DeltaOperation;
use serde::Serialize;
use tuwen_schemas::{TABLES, Table, table};

use crate::commit::Author;
use crate::contract::{SCHEMA_PROPERTY, missing_columns, recorded_version};
use crate::corpus::{CHECKPOINT_INTERVAL, Corpus, LOG_CLEANUP_PROPERTY, is_append_only};
use crate::maintenance::delta_log::APPEND_ONLY;
use crate::snapshot::Snapshot;

const CHECKPOINT_PROPERTY: &str = "delta.checkpointInterval";

/// What is to be done to a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// The table.
    pub table: &'static str,
    /// The version of its contract now; none if it is not there and is to be made.
    pub from: Option<u32>,
    /// The version that it is brought to.
    pub to: u32,
    /// Columns that are added.
    pub columns: Vec<String>,
    /// Properties that are set.
    pub properties: Vec<(&'static str, String)>,
}

impl Migration {
    /// One line for people.
    pub fn text(&self) -> String {
        let Some(from) = self.from else { return format!("{}: make it", self.table) };
        let mut parts = Vec::new();
        if from != self.to {
            parts.push(format!("schema version {from} to {}", self.to));
        }
        if !self.columns.is_empty() {
            parts.push(format!("add columns {}", self.columns.join(", ")));
        }
        let others = self.properties.iter().filter(|(key, _)| *key != SCHEMA_PROPERTY);
        parts.extend(others.map(|(key, value)| format!("set {key} to {value}")));
        format!("{}: {}", self.table, parts.join(", "))
    }
}

/// What is to be done, table by table; nothing if all are up to date.
///
/// # Errors
/// A table does not say which version it has.
pub fn migrations(snapshot: &Snapshot) -> Result<Vec<Migration>> {
    let mut all = Vec::new();
    for contract in TABLES.iter().filter(|table| !snapshot.corpus().is_shared(table.name)) {
        let (table, to) = (contract.name, contract.version);
        let mut migration =
            Migration { table, from: None, to, columns: Vec::new(), properties: Vec::new() };
        if snapshot.version(table).is_none() {
            all.push(migration);
            continue;
        }
        let delta = snapshot.delta(table);
        migration.from = Some(recorded_version(contract, delta)?);
        migration.columns = missing_columns(contract, delta)?;
        let wanted = [
            (SCHEMA_PROPERTY, to.to_string()),
            (CHECKPOINT_PROPERTY, CHECKPOINT_INTERVAL.to_owned()),
            (APPEND_ONLY, is_append_only(table).to_string()),
            (LOG_CLEANUP_PROPERTY, false.to_string()),
        ];
        let is_other =
            |(key, value): &(&str, String)| snapshot.property(table, key).as_ref() != Some(value);
        migration.properties = wanted.into_iter().filter(is_other).collect();
        if !migration.columns.is_empty() || !migration.properties.is_empty() {
            all.push(migration);
        }
    }
    Ok(all)
}

/// Does what `migration` says.
///
/// # Errors
/// The log cannot be written, or another run commits to the table meanwhile.
pub async fn migrate(
    corpus: &Corpus,
    snapshot: &mut Snapshot,
    migration: &Migration,
    author: &Author,
) -> Result<()> {
    let name = migration.table;
    let contract = table(name);
    if migration.from.is_none() {
        let delta = corpus.create(contract).await?;
        snapshot.replace(name, delta);
        return Ok(());
    }
    let state = snapshot.delta(name).snapshot()?;
    let mut metadata = state.metadata().clone();
    if !migration.columns.is_empty() {
        metadata = metadata.with_schema(&with_all_columns(contract, state.schema().as_ref())?)?;
    }
    for (key, value) in &migration.properties {
        metadata = metadata.add_config_key((*key).to_owned(), value.clone())?;
    }
    let properties =
        migration.properties.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    let operation = DeltaOperation::SetTableProperties { properties: properties.collect() };
    let actions = vec![Action::Metadata(metadata)];
    snapshot.commit_actions(name, actions, operation, author).await?.or_overtaken(name)
}

/// The columns of the contract in its order, those that are there as they are; then those that the
/// contract does not know.
fn with_all_columns(contract: &Table, there: &StructType) -> Result<StructType> {
    let wanted: StructType = contract.schema.as_ref().try_into_kernel()?;
    let mut columns: Vec<StructField> = wanted
        .fields()
        .map(|column| there.field(column.name()).unwrap_or(column).clone())
        .collect();
    let others = there.fields().filter(|column| wanted.field(column.name()).is_none());
    columns.extend(others.cloned());
    Ok(StructType::try_new(columns)?)
}
