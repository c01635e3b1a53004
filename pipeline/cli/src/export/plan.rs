//! What an export is of, written into its folder: an export that was killed is resumed only as what it was begun as, and whoever reads
//! one knows which versions it holds. In: options, settings and a snapshot. Out: JSON, and what two plans differ in.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tuwen_corpus::id::{hex, id_of};
use tuwen_corpus::{Rows, Snapshot, TableVersions, bare_session};
use tuwen_etl::functions::bound_into;
use tuwen_etl::sql::register_functions;
use tuwen_settings::Settings;

use super::options::{Format, Options, Pictures};

/// All that the bytes of an export follow from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The version of tuwen.
    pub(crate) tuwen: String,
    /// Delta's id of the table `examples`: the same wherever a corpus is moved.
    pub(crate) corpus: String,
    pub(crate) format: Format,
    pub(crate) pictures: Pictures,
    #[serde(rename = "where")]
    pub(crate) predicate: Option<String>,
    /// Functions in the condition that follow settings or the tokenizer, each with a hash of what it follows.
    #[serde(default)]
    pub(crate) functions: BTreeMap<String, String>,
    pub(crate) splits: Vec<String>,
    /// Columns of Parquet; all if it is empty.
    pub(crate) columns: Vec<String>,
    pub(crate) shard_rows: u64,
    pub(crate) shard_bytes: u64,
    /// Of all tables.
    pub(crate) versions: TableVersions,
}

/// What a whole export says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    #[serde(flatten)]
    pub(crate) plan: Plan,
    /// Rows by split.
    pub(crate) rows: BTreeMap<String, u64>,
    /// Pairs that were selected and have no picture: its file is lost.
    pub(crate) without_picture: u64,
    pub(crate) shards: Vec<ShardFile>,
}

/// A shard of a whole export.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ShardFile {
    /// Below the export's folder.
    pub(crate) path: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl Plan {
    /// What `options` ask of `snapshot` under `settings`.
    ///
    /// # Errors
    /// The settings name no caption rules.
    pub(crate) fn of(options: &Options, settings: &Settings, snapshot: &Snapshot) -> Result<Self> {
        let examples = snapshot.delta("examples").snapshot()?;
        Ok(Self {
            tuwen: env!("CARGO_PKG_VERSION").to_owned(),
            corpus: examples.metadata().id().to_owned(),
            format: options.format,
            pictures: options.pictures,
            predicate: options.predicate.clone(),
            functions: match &options.predicate {
                Some(predicate) => functions(predicate, settings)?,
                None => BTreeMap::new(),
            },
            splits: options.splits.iter().map(|split| split.name().to_owned()).collect(),
            columns: options.columns.clone(),
            shard_rows: options.shard_rows,
            shard_bytes: options.shard_bytes,
            versions: snapshot.versions(),
        })
    }

    /// What `self` is otherwise than `asked`, but for the versions; none if it is the same.
    pub(crate) fn difference(&self, asked: &Self) -> Result<Option<String>> {
        let [Value::Object(here), Value::Object(asked)] =
            [serde_json::to_value(self)?, serde_json::to_value(asked)?]
        else {
            unreachable!("a plan is an object of JSON");
        };
        let differ = here.iter().find(|(key, value)| *key != "versions" && asked[*key] != **value);
        Ok(differ
            .map(|(key, value)| format!("its `{key}` is {value}, asked for is {}", asked[key])))
    }
}

/// The functions that `predicate` names and into which something of `settings` is bound, each with a hash of that. A column of such a
/// name counts, too: then the same condition under other settings is taken for another.
fn functions(predicate: &str, settings: &Settings) -> Result<BTreeMap<String, String>> {
    let ctx = bare_session(Rows::Light)?;
    register_functions(&ctx, settings)?;
    let (state, predicate) = (ctx.state(), predicate.to_lowercase());
    let named = state.scalar_functions().iter().filter(|(name, _)| predicate.contains(*name));
    let hashed = named.filter_map(|(name, function)| {
        let bound = bound_into(function)?;
        Some((name.clone(), hex(id_of(bound.as_bytes()))))
    });
    Ok(hashed.collect())
}
