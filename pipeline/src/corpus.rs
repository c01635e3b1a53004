//! A corpus: one folder of Delta tables. In: its location. Out: its tables opened, checked against the contracts, and
//! written to with one commit a call. Never knows what a stage does with them.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::datatypes::Schema;
use datafusion::datasource::MemTable;
use datafusion::prelude::{DataFrame, Expr, SessionContext, ident};
use deltalake::delta_datafusion::DeltaSessionContext;
use deltalake::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake::kernel::{StructField, StructType};
use deltalake::protocol::SaveMode;
use deltalake::{DeltaTable, DeltaTableError};
use parquet::file::properties::WriterProperties;
use tuwen_schemas::{SCHEMA_VERSION, TABLES, Table};
use url::Url;

use crate::layout;
use crate::location::root_url;

/// Key of the table property that holds the version of the contracts.
const SCHEMA_PROPERTY: &str = "tuwen.schema_version";

/// Data files are closed at this size. Stages commit chunks smaller than this, so it only splits `examples`.
const TARGET_FILE_BYTES: u64 = 2 << 30;

/// Rows a batch in the stages' sessions that carry bytes or pixels: 16 rows of the largest originals still fit.
const BYTES_BATCH_ROWS: usize = 16;

/// Tables that a corpus may lack: those made before tuwen had them. They are read as empty, and made when first written to.
const MAY_LACK: [&str; 1] = ["captions"];

/// Table name to Delta version.
pub type TableVersions = BTreeMap<String, i64>;

/// What a session's batches carry; decides how many rows stand in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Captions, ids, numbers.
    Light,
    /// Whole pictures.
    Heavy,
}

/// An opened corpus.
pub struct Corpus {
    root: Url,
}

impl Corpus {
    /// Opens the corpus at `location` (a path or URL) and checks every table against its contract.
    ///
    /// # Errors
    /// No corpus there; a table missing, of another schema version, or with other columns.
    pub async fn open(location: &str) -> Result<Self> {
        let corpus = Self { root: root_url(location)? };
        let mut missing = Vec::new();
        for table in TABLES.iter() {
            match corpus.delta(table.name).await {
                Ok(delta) if delta.version().is_some() => check(table, &delta)?,
                Ok(_) if MAY_LACK.contains(&table.name) => {}
                Ok(_) => missing.push(table.name),
                Err(error) => return Err(error),
            }
        }
        if missing.len() == TABLES.len() - MAY_LACK.len() {
            bail!(
                "no corpus at `{location}`: expected a folder with the tables pairs, originals, images, examples, runs\n\
                 hint: `tuwen fetch CSV --corpus {location}` makes one"
            );
        }
        if !missing.is_empty() {
            bail!("corpus `{location}`: table `{}` is missing", missing.join("`, `"));
        }
        Ok(corpus)
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
        for table in TABLES.iter() {
            let delta = corpus.delta(table.name).await?;
            if delta.version().is_some() {
                check(table, &delta)?;
                continue;
            }
            create(table, &delta).await.with_context(|| {
                format!("corpus `{location}`: cannot make table `{}`", table.name)
            })?;
        }
        Ok(corpus)
    }

    /// The table called `name` at its newest version.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn delta(&self, name: &str) -> Result<DeltaTable> {
        let url = self.root.join(&format!("{name}/"))?;
        if url.to_file_path().is_ok_and(|path| !path.exists()) {
            return deltalake::DeltaTableBuilder::from_url(url)
                .and_then(|builder| builder.build())
                .with_context(|| format!("table `{name}`"));
        }
        DeltaTable::try_from_url(url)
            .await
            .with_context(|| format!("reading the log of table `{name}`"))
    }

    /// The newest version of every table that is there.
    ///
    /// # Errors
    /// A log cannot be read.
    pub async fn versions(&self) -> Result<TableVersions> {
        let mut versions = TableVersions::new();
        for table in TABLES.iter() {
            if let Some(version) = self.delta(table.name).await?.version() {
                versions.insert(table.name.to_owned(), version as i64);
            }
        }
        Ok(versions)
    }

    /// A session in which every table is registered at its newest version under its name.
    ///
    /// # Errors
    /// A log cannot be read.
    pub async fn session(&self, rows: Rows) -> Result<SessionContext> {
        let ctx = bare_session(rows)?;
        for table in TABLES.iter() {
            let delta = self.delta(table.name).await?;
            if delta.version().is_none() {
                let empty = MemTable::try_new(Arc::clone(&table.schema), vec![Vec::new()])?;
                ctx.register_table(table.name, Arc::new(empty))?;
                continue;
            }
            delta.update_datafusion_session(&ctx.state())?;
            // The provider takes its string and binary types from the session, if it is told of it.
            let provider =
                delta.table_provider().with_session(Arc::new(ctx.state())).build().await?;
            ctx.register_table(table.name, Arc::new(provider))?;
        }
        Ok(ctx)
    }

    /// Appends the rows of `frame` to table `name` in one commit; returns the new version.
    ///
    /// # Errors
    /// The rows cannot be computed or written; nothing is committed then.
    pub async fn append(&self, name: &str, frame: DataFrame) -> Result<i64> {
        self.write(name, frame, SaveMode::Append).await
    }

    /// Replaces the rows of table `name` by those of `frame` in one commit; returns the new version.
    ///
    /// # Errors
    /// As [`Corpus::append`].
    pub async fn overwrite(&self, name: &str, frame: DataFrame) -> Result<i64> {
        self.write(name, frame, SaveMode::Overwrite).await
    }

    /// Table `name`, made now if the corpus lacks it.
    async fn delta_to_write(&self, name: &str) -> Result<DeltaTable> {
        let delta = self.delta(name).await?;
        let lacking = TABLES.iter().find(|table| table.name == name && delta.version().is_none());
        let Some(table) = lacking else { return Ok(delta) };
        create(table, &delta).await.with_context(|| format!("cannot make table `{name}`"))?;
        self.delta(name).await
    }

    async fn write(&self, name: &str, frame: DataFrame, mode: SaveMode) -> Result<i64> {
        let properties: WriterProperties = layout::of(name);
        let delta = self.delta_to_write(name).await?;
        let (state, plan) = frame.select(contract_columns(name, &delta)?)?.into_parts();
        let written = Box::pin(
            delta
                .write(Vec::new())
                .with_input_plan(plan)
                .with_session_state(Arc::new(state))
                .with_save_mode(mode)
                .with_target_file_size(NonZeroU64::new(TARGET_FILE_BYTES))
                .with_writer_properties(properties)
                .into_future(),
        )
        .await
        .with_context(|| format!("writing table `{name}`"))?;
        written.version().map(|version| version as i64).context("a written table has a version")
    }
}

/// A session with DataFusion's functions and tuwen's settings, and no table.
///
/// # Errors
/// Never for the settings used here; DataFusion's signature has them.
pub fn bare_session(rows: Rows) -> Result<SessionContext> {
    let mut overrides = HashMap::from([
        ("datafusion.sql_parser.enable_ident_normalization", "true".to_owned()),
        ("datafusion.execution.parquet.schema_force_view_types", "false".to_owned()),
        // One string type everywhere: what Delta stores, casts and functions all give Utf8.
        ("datafusion.sql_parser.map_string_types_to_utf8view", "false".to_owned()),
        // Pulling the fields out of a struct below the function that makes it would decode a picture once a field.
        ("datafusion.optimizer.enable_leaf_expression_pushdown", "false".to_owned()),
        ("datafusion.catalog.information_schema", "true".to_owned()),
    ]);
    if rows == Rows::Heavy {
        overrides.insert("datafusion.execution.batch_size", BYTES_BATCH_ROWS.to_string());
        // Joins repartition both sides, so that what comes after them runs on all cores even if one file is read.
        overrides
            .insert("datafusion.optimizer.hash_join_single_partition_threshold", "0".to_owned());
        overrides.insert(
            "datafusion.optimizer.hash_join_single_partition_threshold_rows",
            "0".to_owned(),
        );
    }
    let overrides = overrides.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Ok(DeltaSessionContext::new_with_session_overrides(&overrides)?.into_inner())
}

/// The contract as Delta sees it.
fn contract(table: &Table) -> Result<StructType> {
    let schema: StructType = table.schema.as_ref().try_into_kernel()?;
    Ok(schema)
}

/// The columns of table `name` in the contract's order. The comments that the table was made with take the place of those that
/// columns bring along from the tables they were read from, which Delta would take for a change of schema.
fn contract_columns(name: &str, delta: &DeltaTable) -> Result<Vec<Expr>> {
    let made: Schema = delta.snapshot()?.schema().as_ref().try_into_arrow()?;
    let schema = tuwen_schemas::schema(name);
    let columns = schema.fields().iter().map(|field| {
        let comments = made.field_with_name(field.name())?.metadata().into();
        Ok(ident(field.name()).alias_with_metadata(field.name(), Some(comments)))
    });
    columns.collect()
}

async fn create(table: &Table, delta: &DeltaTable) -> Result<(), DeltaTableError> {
    let fields: Vec<StructField> = contract(table)
        .map_err(|error| DeltaTableError::generic(error.to_string()))?
        .fields()
        .cloned()
        .collect();
    let append_only = !matches!(table.name, "examples");
    Box::pin(
        delta
            .create()
            .with_table_name(table.name)
            .with_columns(fields)
            .with_raise_if_key_not_exists(false)
            .with_configuration([
                (SCHEMA_PROPERTY, Some(SCHEMA_VERSION)),
                ("delta.dataSkippingStatsColumns", Some(table.schema.field(0).name().as_str())),
                ("delta.appendOnly", Some(if append_only { "true" } else { "false" })),
            ])
            .into_future(),
    )
    .await?;
    Ok(())
}

fn check(table: &Table, delta: &DeltaTable) -> Result<()> {
    let name = table.name;
    let snapshot = delta.snapshot()?;
    let found = snapshot.metadata().configuration().get(SCHEMA_PROPERTY).map(String::as_str);
    if found != Some(SCHEMA_VERSION) {
        bail!(
            "table `{name}`: schema version is {}, this tuwen reads version {SCHEMA_VERSION}\n\
             hint: use the tuwen that made the corpus, or make a new corpus",
            found.unwrap_or("not set")
        );
    }
    let schema = snapshot.schema();
    for expected in contract(table)?.fields() {
        let column = expected.name();
        let field = schema.field(column).with_context(|| {
            format!("table `{name}`: column `{column}` is missing, schemas/{name}.sql has it")
        })?;
        if field.data_type() != expected.data_type() {
            bail!(
                "table `{name}`: column `{column}` is {}, schemas/{name}.sql says {}",
                field.data_type(),
                expected.data_type()
            );
        }
    }
    Ok(())
}
