//! A session of a person, or of one request of a server. In: an opened corpus, and statements. Out: their rows. It reads one snapshot
//! from the first statement to the last; a table is registered when the first query asks for it. Never writes.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::Utc;
use datafusion::catalog::memory::{
    MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
};
use datafusion::catalog::{CatalogProvider, CatalogProviderList};
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, TableReference};
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use tokio::sync::Mutex;
use tuwen_corpus::{Engine, Snapshot, asking_session};
use tuwen_schemas::{TABLES, header};
use tuwen_settings::Settings;

use crate::read_only::{VIEWS, register_view, register_views};
use crate::sql::error::QueryError;
use crate::sql::explain::explained;
use crate::sql::functions::register_functions;
use crate::sql::history::{history_table, table_of};
use crate::sql::params::Params;
use crate::sql::sample::sampled;
use crate::sql::statement::{Statement, statements};

/// Where tables are registered, as `information_schema` has it.
pub const CATALOG: &str = "datafusion";
/// The schema in [`CATALOG`].
pub const SCHEMA: &str = "public";

/// The table of commits.
const HISTORY: &str = "history";

/// Columns that hold whole pictures: what carries them comes in small batches.
const HEAVY_COLUMNS: [&str; 2] = ["pixels", "bytes"];

/// Rows a batch of a query that carries pictures: 10 MB of pixels at 224 px.
const HEAVY_BATCH_ROWS: usize = 64;

/// Queries over one snapshot.
pub struct Session {
    ctx: SessionContext,
    snapshot: Snapshot,
    /// Held while a table is looked for and registered, so that two queries at once do not both register it.
    opening: Mutex<()>,
}

/// A statement that is planned.
#[derive(Clone)]
pub struct Prepared {
    frame: DataFrame,
    engine: Arc<dyn Engine>,
    /// Names of the parameters that it has.
    pub params: BTreeSet<String>,
    statement: Statement,
}

/// A statement without values for its parameters.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The columns of its rows, as far as they do not depend on values.
    pub schema: SchemaRef,
    /// Its parameters, in the order of [`Statement::parameters`]; text where the statement does not say which type.
    pub params: Schema,
}

impl Session {
    /// A session over `snapshot` whose operators hold `memory_bytes` together at most, and spill the rest where they can.
    ///
    /// # Errors
    /// The settings name no caption rules.
    pub fn new(
        snapshot: Snapshot,
        settings: &Settings,
        memory_bytes: usize,
    ) -> anyhow::Result<Self> {
        let ctx = asking_session(memory_bytes)?;
        register_functions(&ctx, settings)?;
        Ok(Self { ctx, snapshot, opening: Mutex::new(()) })
    }

    /// A session over `snapshot` with the functions of this one; what the operators of both hold together is bounded as one.
    ///
    /// # Errors
    /// Never for a catalog in memory; DataFusion's signature has them.
    pub fn over(&self, snapshot: Snapshot) -> anyhow::Result<Self> {
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::new(MemorySchemaProvider::new()))?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let state = SessionStateBuilder::new_from_existing(self.ctx.state())
            .with_catalog_list(Arc::new(catalogs))
            .build();
        let ctx = SessionContext::new_with_state(state);
        Ok(Self { ctx, snapshot, opening: Mutex::new(()) })
    }

    /// A session over the same snapshot, with the tables that this one has opened; what it opens itself goes with it.
    ///
    /// # Errors
    /// As [`Self::over`].
    pub async fn apart(&self) -> anyhow::Result<Self> {
        let apart = self.over(self.snapshot.clone())?;
        let opened = self.ctx.catalog(CATALOG).and_then(|catalog| catalog.schema(SCHEMA));
        let opened = opened.context("the session's catalog")?;
        for name in opened.table_names().iter().filter(|name| !name.contains('@')) {
            if let Some(table) = opened.table(name).await? {
                apart.ctx.register_table(table_name(name), table)?;
            }
        }
        Ok(apart)
    }

    /// Bytes that the operators hold now, together with those of the sessions that were made of this one.
    pub fn held_bytes(&self) -> usize {
        self.ctx.runtime_env().memory_pool.reserved()
    }

    /// The state, which knows the functions.
    pub fn state(&self) -> SessionState {
        self.ctx.state()
    }

    /// The snapshot that is read.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The names of tables and views.
    pub fn tables() -> impl Iterator<Item = &'static str> {
        let views = VIEWS.iter().map(|(name, _)| *name);
        TABLES.iter().map(|table| table.name).chain(views).chain([HISTORY])
    }

    /// The names of tables and views, each with its columns; nothing is opened.
    ///
    /// # Errors
    /// Never for the views that there are.
    pub async fn columns(&self) -> anyhow::Result<Vec<(&'static str, SchemaRef)>> {
        let ctx = self.over(self.snapshot.clone())?.ctx;
        for table in TABLES.iter() {
            let empty = EmptyTable::new(Arc::clone(&table.schema));
            ctx.register_table(table_name(table.name), Arc::new(empty))?;
        }
        Box::pin(register_views(&ctx)).await?;
        ctx.register_table(table_name(HISTORY), Arc::new(table_of(&[])?))?;
        let mut columns = Vec::new();
        for name in Self::tables() {
            columns.push((name, ctx.table_provider(table_name(name)).await?.schema()));
        }
        Ok(columns)
    }

    /// What a row of a table or view is; none if there is none of that name.
    pub fn comment(name: &str) -> Option<String> {
        if name == HISTORY {
            return Some("A row is one commit to one table.".to_owned());
        }
        let table = TABLES.iter().find(|table| table.name == name);
        let view = || VIEWS.iter().find(|(view, _)| *view == name);
        match table {
            Some(table) => Some(table.comment.clone()),
            None => view().map(|(_, text)| {
                header(text).split(" reads: ").next().unwrap_or_default().to_owned()
            }),
        }
    }

    /// Plans `statement` with values for its parameters.
    ///
    /// # Errors
    /// It is wrong, is not read-only, or lacks a parameter; or a table that it reads cannot be opened.
    pub async fn prepare(
        &self,
        statement: &Statement,
        params: &Params,
    ) -> std::result::Result<Prepared, QueryError> {
        let planned = Box::pin(self.plan(statement, params)).await;
        let (frame, params) =
            planned.map_err(|error| explained(&error, statement, &self.ctx.state()))?;
        Ok(Prepared {
            frame,
            engine: Arc::clone(self.snapshot.corpus().engine()),
            params,
            statement: statement.clone(),
        })
    }

    /// What `statement` is without values for its parameters.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub async fn draft(&self, statement: &Statement) -> std::result::Result<Draft, QueryError> {
        let drafted = Box::pin(self.draft_of(statement)).await;
        drafted.map_err(|error| explained(&error, statement, &self.ctx.state()))
    }

    async fn draft_of(&self, statement: &Statement) -> Result<Draft> {
        let plan = self.plan_unbound(statement).await?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Ok(Draft { schema, params: params_schema(statement, &plan)? })
    }

    /// The rows of one query of a program, with values for its parameters (`name=value`).
    ///
    /// # Errors
    /// As [`Self::prepare`]; the query fails.
    pub async fn ask(&self, query: &str, params: &[&str]) -> anyhow::Result<Vec<RecordBatch>> {
        let params = Params::of(params.iter().copied())?;
        let statement = statements(query)?.into_iter().next().context("expected a query")?;
        let prepared = self.prepare(&statement, &params).await?;
        let collected = prepared.frame().clone().collect().await;
        Ok(collected.map_err(|error| prepared.explain(&error))?)
    }

    async fn plan(
        &self,
        statement: &Statement,
        params: &Params,
    ) -> Result<(DataFrame, BTreeSet<String>)> {
        let plan = self.plan_unbound(statement).await?;
        let (plan, params) = params.bind(plan)?;
        let mut state = self.ctx.state();
        if carries_pictures(&plan)? {
            state.config_mut().options_mut().execution.batch_size =
                ConfigNonZeroUsize::try_new(HEAVY_BATCH_ROWS)?;
        }
        Ok((DataFrame::new(state, plan), params))
    }

    async fn plan_unbound(&self, statement: &Statement) -> Result<LogicalPlan> {
        let mut parsed = statement.parse()?;
        check_asks(&parsed)?;
        sampled(&mut parsed)?;
        self.open_tables(&parsed, statement).await?;
        let plan = self.ctx.state().statement_to_plan(parsed).await?;
        check_read_only(&plan)?;
        Ok(plan)
    }

    /// Registers what `parsed` reads and is not registered yet.
    async fn open_tables(&self, parsed: &Parsed, statement: &Statement) -> Result<()> {
        let _opening = self.opening.lock().await;
        let state = self.ctx.state();
        for table in state.resolve_table_references(parsed)? {
            match &table {
                TableReference::Bare { table } => self.open(table, statement, &state).await?,
                table if table.schema() == Some("information_schema") => {
                    for name in Self::tables() {
                        self.open(name, statement, &state).await?;
                    }
                }
                table if table.schema() == Some(SCHEMA) => {
                    self.open(table.table(), statement, &state).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn open(&self, name: &str, statement: &Statement, state: &SessionState) -> Result<()> {
        if self.ctx.table_exist(name)? || state.table_functions().contains_key(name) {
            return Ok(());
        }
        let (table, pin) = match name.rsplit_once('@') {
            Some((table, pin)) => (table, Some(pin)),
            None => (name, None),
        };
        if !Self::tables().any(|known| known == table) {
            // As it is written: `table`, `table@v3`, or `table as of …`.
            let place = statement.place_of(name).or_else(|| statement.place_of(table));
            let error = QueryError::new(format!("table `{table}` does not exist")).at(place);
            return Err(error.meant(table, Self::tables()).into());
        }
        let opened = match pin {
            None => self.register(&self.ctx, &self.snapshot, table, name).await,
            Some(pin) => self.open_pinned(table, pin, name).await,
        };
        opened.map_err(|error| match error.downcast::<QueryError>() {
            Ok(error) => error.at(statement.place_of(name).or_else(|| statement.place_of(table))),
            Err(error) => QueryError::new(tuwen_corpus::log::one_line(&error)),
        })?;
        Ok(())
    }

    /// Registers `table` as it was at `pin`, a version (`v3`) or a time.
    async fn open_pinned(&self, table: &str, pin: &str, name: &str) -> anyhow::Result<()> {
        let is_own = TABLES.iter().any(|known| known.name == table);
        let digits = pin.strip_prefix('v').filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        let Some(version) = digits.and_then(|digits| digits.parse::<u64>().ok()) else {
            // Minutes are enough.
            let minutes = || string_to_datetime(&Utc, &format!("{pin}:00"));
            let time = string_to_datetime(&Utc, pin).or_else(|_| minutes()).map_err(|_| {
                QueryError::new(format!("expected a version such as v3, or a time, found `{pin}`"))
                    .hint("times are UTC, such as '2026-11-30 08:00'")
            })?;
            if !is_own {
                return self.register_then(&self.snapshot.at_time(time).await?, table, name).await;
            }
            let version = self.snapshot.version_at(table, time).await?;
            let version =
                version.with_context(|| format!("table `{table}` was not there at {time}"))?;
            return self.register_version(table, version, name).await;
        };
        if !is_own {
            let error = QueryError::new(format!("`{table}` is a view, which has no versions"));
            return Err(error.hint(format!("{table} as of 'TIME'")).into());
        }
        self.register_version(table, version, name).await
    }

    async fn register_version(&self, table: &str, version: u64, name: &str) -> anyhow::Result<()> {
        let newest = self.snapshot.version(table).unwrap_or(-1);
        if i64::try_from(version)? > newest {
            let error = QueryError::new(format!("table `{table}` has no version {version}"));
            return Err(error.hint(format!("its newest is {newest}")).into());
        }
        let mut then = self.snapshot.clone();
        then.pin(table, version).await.with_context(|| {
            format!("version {version} of table `{table}` can no longer be read")
        })?;
        self.register(&self.ctx, &then, table, name).await
    }

    /// Registers view `view` of an earlier snapshot as `name`: the tables that it reads are registered apart, under their own names.
    async fn register_then(&self, then: &Snapshot, view: &str, name: &str) -> anyhow::Result<()> {
        let schema = format!("at {name}");
        let mut state = self.ctx.state();
        let catalog = self.ctx.catalog(CATALOG).context("the session's catalog")?;
        let apart = MemorySchemaProvider::new();
        catalog.register_schema(&schema, Arc::new(apart))?;
        state.config_mut().options_mut().catalog.default_schema = schema;
        let apart = SessionContext::new_with_state(state);
        self.register(&apart, then, view, view).await?;
        self.ctx.register_table(table_name(name), apart.table_provider(table_name(view)).await?)?;
        Ok(())
    }

    /// Registers `table` of `snapshot` with `ctx` as `name`; of a view, what it reads too.
    async fn register(
        &self,
        ctx: &SessionContext,
        snapshot: &Snapshot,
        table: &str,
        name: &str,
    ) -> anyhow::Result<()> {
        if table == HISTORY {
            let history = history_table(snapshot).await?;
            ctx.register_table(table_name(name), Arc::new(history))?;
            return Ok(());
        }
        let Some((_, text)) = VIEWS.iter().find(|(view, _)| *view == table) else {
            let provider = snapshot.provider(table, None, ctx).await?;
            ctx.register_table(table_name(name), provider)?;
            return Ok(());
        };
        let state = ctx.state();
        let dialect = state.config().options().sql_parser.dialect;
        for read in state.resolve_table_references(&state.sql_to_statement(text, &dialect)?)? {
            if !ctx.table_exist(read.clone())? {
                let provider = snapshot.provider(read.table(), None, ctx).await?;
                ctx.register_table(read, provider)?;
            }
        }
        register_view(ctx, table, text).await
    }
}

impl Prepared {
    /// What is to compute its rows.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Its rows, not yet asked for.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// The same with at most `n` rows: an engine that knows how many are wanted finds them sooner.
    ///
    /// # Errors
    /// Never for a statement that is planned.
    pub fn limited(self, n: usize) -> std::result::Result<Self, QueryError> {
        let is_query = !matches!(
            self.frame.logical_plan(),
            LogicalPlan::Explain(_)
                | LogicalPlan::Analyze(_)
                | LogicalPlan::DescribeTable(_)
                | LogicalPlan::Statement(_)
        );
        if !is_query {
            return Ok(self);
        }
        let limited = self.frame.clone().limit(0, Some(n));
        let frame = limited.map_err(|error| self.explain(&error))?;
        Ok(Self { frame, ..self })
    }

    /// An error of running it, for whoever wrote it.
    pub fn explain(&self, error: &datafusion::common::DataFusionError) -> QueryError {
        let (state, _) = self.frame.clone().into_parts();
        explained(error, &self.statement, &state)
    }
}

/// The parameters of `plan`, which is that of `statement`.
fn params_schema(statement: &Statement, plan: &LogicalPlan) -> Result<Schema> {
    let known = plan.get_parameter_fields()?;
    let fields = statement.parameters().into_iter().map(|name| {
        let field = known.get(&format!("${name}")).and_then(Option::as_ref);
        let data_type = field.map(|field| field.data_type().clone());
        let data_type = data_type.filter(|data_type| !data_type.is_null());
        Field::new(name, data_type.unwrap_or(DataType::Utf8), true)
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// A name that may have any letter in it.
fn table_name(name: &str) -> TableReference {
    TableReference::bare(name)
}

/// Before tables are looked for: a statement that writes need not be right.
fn check_asks(parsed: &Parsed) -> Result<()> {
    let asks = match parsed {
        Parsed::Explain(_) => true,
        Parsed::Statement(statement) => matches!(
            statement.as_ref(),
            Sql::Query(_)
                | Sql::Explain { .. }
                | Sql::ExplainTable { .. }
                | Sql::ShowTables { .. }
                | Sql::ShowColumns { .. }
                | Sql::ShowFunctions { .. }
                | Sql::ShowVariable { .. }
                | Sql::ShowCreate { .. }
        ),
        _ => false,
    };
    if asks {
        return Ok(());
    }
    let text = parsed.to_string();
    let word = text.split_whitespace().next().unwrap_or_default().to_lowercase();
    Err(QueryError::new(format!("`tuwen sql` only reads, found `{word}`")).into())
}

fn check_read_only(plan: &LogicalPlan) -> Result<()> {
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(plan).map_err(|error| {
        let what = error.strip_backtrace();
        let what = what.trim_start_matches("Error during planning: ");
        QueryError::new(format!("`tuwen sql` only reads: {what}")).into()
    })
}

/// Whether a column with whole pictures is named anywhere in `plan`.
fn carries_pictures(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                found |= matches!(expr, Expr::Column(column) if HEAVY_COLUMNS.contains(&column.name.as_str()));
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(found)
}
