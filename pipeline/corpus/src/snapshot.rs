//! A snapshot: all tables of a corpus at pinned versions. In: a corpus. Out: what a stage reads, and what its commit is judged
//! against. It moves only when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::prelude::{DataFrame, Expr, ParquetReadOptions, SessionContext, cast, ident, lit};
use datafusion::scalar::ScalarValue;
use deltalake::DeltaTable;
use futures::future::try_join_all;
use tuwen_schemas::{TABLES, table};

use crate::contract::{check, missing_columns};
use crate::corpus::Corpus;
use crate::engine::Engine;
use crate::session::{Rows, bare_session};
use crate::step::reach;

/// Table name to Delta version.
pub type TableVersions = BTreeMap<String, i64>;

/// All tables of a corpus at pinned versions.
#[derive(Clone)]
pub struct Snapshot {
    corpus: Corpus,
    tables: BTreeMap<&'static str, DeltaTable>,
    /// Tables that another run has committed to since the last refresh: rows that were new to this snapshot when they were asked
    /// for may not be.
    overtaken: BTreeSet<&'static str>,
}

impl Snapshot {
    pub(crate) async fn newest(corpus: Corpus) -> Result<Self> {
        reach("snapshot").await;
        let opened =
            try_join_all(TABLES.iter().map(|table| corpus.delta(table.name, None))).await?;
        let tables: BTreeMap<_, _> = TABLES.iter().map(|table| table.name).zip(opened).collect();
        for table in TABLES.iter() {
            let delta = &tables[table.name];
            if delta.version().is_some() {
                check(table, delta)?;
            }
        }
        Ok(Self { corpus, tables, overtaken: BTreeSet::new() })
    }

    /// The corpus.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// What computes over its tables.
    pub fn engine(&self) -> &dyn Engine {
        self.corpus.engine().as_ref()
    }

    /// The same, over whose tables `engine` computes.
    #[must_use]
    pub fn on(self, engine: Arc<dyn Engine>) -> Self {
        Self { corpus: self.corpus.on(engine), ..self }
    }

    /// Moves to the newest version of every table; what was read already is not read again.
    ///
    /// # Errors
    /// A log cannot be read.
    pub async fn refresh(&mut self) -> Result<()> {
        self.overtaken.clear();
        self.update().await
    }

    async fn update(&mut self) -> Result<()> {
        reach("refresh").await;
        let corpus = &self.corpus;
        let updates = self.tables.iter_mut().map(|(name, delta)| async move {
            if delta.version().is_none() {
                *delta = corpus.delta(name, None).await?;
                return Ok::<(), anyhow::Error>(());
            }
            Box::pin(delta.update_state())
                .await
                .with_context(|| format!("reading the log of table `{name}`"))
        });
        try_join_all(updates).await?;
        Ok(())
    }

    /// Moves to the newest versions because another run has committed to table `name`.
    pub(crate) async fn overtake(&mut self, name: &str) -> Result<()> {
        self.set_overtaken(name);
        self.update().await
    }

    pub(crate) fn set_overtaken(&mut self, name: &str) {
        self.overtaken.insert(table(name).name);
    }

    /// Whether another run has committed to table `name` since the last refresh.
    pub(crate) fn is_overtaken(&self, name: &str) -> bool {
        self.overtaken.contains(name)
    }

    /// Pins table `name` to `version`.
    ///
    /// # Errors
    /// There is no such version (any more).
    pub async fn pin(&mut self, name: &str, version: u64) -> Result<()> {
        let delta = self.corpus.delta(name, Some(version)).await?;
        self.tables.insert(table(name).name, delta);
        Ok(())
    }

    /// Has table `name` without a version, as if the corpus lacked it.
    pub fn leave_out(&mut self, name: &str) {
        self.replace(name, DeltaTable::new(self.delta(name).log_store()));
    }

    /// Table `name` as it is pinned; one without a version if the corpus lacks it.
    pub fn delta(&self, name: &str) -> &DeltaTable {
        &self.tables[table(name).name]
    }

    pub(crate) fn replace(&mut self, name: &str, delta: DeltaTable) {
        self.tables.insert(table(name).name, delta);
    }

    /// The version of table `name`; none if the corpus lacks it.
    pub fn version(&self, name: &str) -> Option<i64> {
        self.delta(name).version().map(|version| version as i64)
    }

    /// The versions of all tables that are there.
    pub fn versions(&self) -> TableVersions {
        let versions = TABLES.iter().map(|table| (table.name, self.version(table.name)));
        versions.filter_map(|(name, version)| Some((name.to_owned(), version?))).collect()
    }

    /// A session in which every table is registered under its name.
    ///
    /// # Errors
    /// A table cannot be read.
    pub async fn session(&self, rows: Rows) -> Result<SessionContext> {
        let ctx = bare_session(rows)?;
        self.register(&ctx).await?;
        Ok(ctx)
    }

    /// Registers every table with `ctx` under its name.
    ///
    /// # Errors
    /// A table cannot be read.
    pub async fn register(&self, ctx: &SessionContext) -> Result<()> {
        for table in TABLES.iter() {
            let provider = self.provider(table.name, None, ctx).await?;
            ctx.register_table(table.name, provider)?;
        }
        Ok(())
    }

    /// The rows of some data files of table `name`, committed or not, as the files have them.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub async fn read_files<'a>(
        &self,
        ctx: &SessionContext,
        name: &str,
        paths: impl IntoIterator<Item = &'a str>,
    ) -> Result<DataFrame> {
        let root = self.corpus.root_of(name).join(&format!("{name}/"))?;
        self.delta(name).update_datafusion_session(&ctx.state())?;
        let urls = paths.into_iter().map(|path| Ok(root.join(path)?.to_string()));
        let urls: Vec<String> = urls.collect::<Result<_>>()?;
        Ok(ctx.read_parquet(urls, ParquetReadOptions::default()).await?)
    }

    /// Table `name`, or those of its files called `paths`, with all columns of its contract: those that it was made before are null.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn provider(
        &self,
        name: &str,
        paths: Option<&BTreeSet<String>>,
        ctx: &SessionContext,
    ) -> Result<Arc<dyn TableProvider>> {
        let (table, delta) = (table(name), self.delta(name));
        if delta.version().is_none() {
            return Ok(Arc::new(MemTable::try_new(Arc::clone(&table.schema), vec![Vec::new()])?));
        }
        let provider = self.table_of_files(name, paths, None)?;
        let missing = missing_columns(table, delta)?;
        if missing.is_empty() {
            return Ok(provider);
        }
        let columns =
            table.schema.fields().iter().map(|field| match missing.contains(field.name()) {
                true => cast(lit(ScalarValue::Null), field.data_type().clone()).alias(field.name()),
                false => ident(field.name()),
            });
        let columns: Vec<Expr> = columns.collect();
        Ok(ctx.read_table(provider)?.select(columns)?.into_view())
    }
}
