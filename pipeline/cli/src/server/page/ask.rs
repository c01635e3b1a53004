//! The queries of `sql/page` that look for few rows in large tables. In: a query's name and parameters. Out: its rows; and the same
//! query as somebody may type it, with the values in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::memory::MemoryCatalogProviderList;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use moka::future::Cache;
use tuwen_corpus::TableVersions;

use super::fault::Fault;
use crate::server::Served;

/// A query of a file, with values for its parameters.
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) params: Vec<(&'static str, ScalarValue)>,
}

macro_rules! query {
    ($name:literal $(, $param:ident = $value:expr)* $(,)?) => {
        $crate::server::page::ask::Query {
            name: $name,
            text: include_str!(concat!("../../../../../../sql/page/", $name, ".sql")),
            params: vec![$((stringify!($param), datafusion::scalar::ScalarValue::from($value))),*],
        }
    };
}
pub(super) use query;

/// A row; what is null is not there.
pub(super) struct Row(BTreeMap<String, String>);

impl Row {
    pub(super) fn get(&self, column: &str) -> Option<&str> {
        self.0.get(column).map(String::as_str)
    }

    /// What is not null, and empty where it is.
    pub(super) fn text(&self, column: &str) -> &str {
        self.get(column).unwrap_or_default()
    }
}

/// One session a snapshot, which looks at filters before it decodes the other columns.
pub(super) struct Seeker {
    served: Arc<Served>,
    sessions: Cache<TableVersions, SessionContext>,
}

impl Seeker {
    pub(super) fn new(served: Arc<Served>) -> Self {
        Self { served, sessions: Cache::new(1) }
    }

    /// The session of the newest snapshot.
    ///
    /// # Errors
    /// A table cannot be read.
    pub(super) async fn session(&self) -> Result<SessionContext, Fault> {
        let shared = self.served.session().await?;
        let snapshot = shared.snapshot();
        let opened = self.sessions.try_get_with(snapshot.versions(), async {
            let ctx = seeking(shared.state());
            snapshot.register(&ctx).await?;
            anyhow::Ok(ctx)
        });
        opened.await.map_err(|error| Fault::from(error.as_ref()))
    }
}

/// A session of its own tables with the functions and the memory of another, which decodes of the rows that a filter or the small
/// side of a join leaves out only the columns that it needs for that.
fn seeking(state: SessionState) -> SessionContext {
    let mut config = state.config().clone();
    config.options_mut().execution.parquet.pushdown_filters = true;
    let state = SessionStateBuilder::new_from_existing(state)
        .with_config(config)
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .build();
    SessionContext::new_with_state(state)
}

impl Query {
    /// Its rows.
    ///
    /// # Errors
    /// The query fails.
    pub(super) async fn rows(&self, ctx: &SessionContext) -> Result<Vec<Row>> {
        let context = || format!("sql/page/{}.sql", self.name);
        let frame = ctx.sql(self.text).await.with_context(context)?;
        let frame = frame.with_param_values(self.params.clone()).with_context(context)?;
        let options = FormatOptions::default();
        let mut rows = Vec::new();
        for batch in Box::pin(frame.collect()).await.with_context(context)? {
            let schema = batch.schema();
            let cells =
                batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
            let cells = cells.collect::<Result<Vec<_>, _>>()?;
            for i in 0..batch.num_rows() {
                let columns = schema.fields().iter().zip(batch.columns()).zip(&cells);
                let there = columns.filter(|((_, column), _)| column.is_valid(i));
                let row = there
                    .map(|((field, _), cell)| (field.name().clone(), cell.value(i).to_string()));
                rows.push(Row(row.collect()));
            }
        }
        Ok(rows)
    }

    /// As it may be typed.
    pub(super) fn typed(&self) -> String {
        let lines = self.text.lines().filter(|line| !line.starts_with("--"));
        let mut text = lines.collect::<Vec<_>>().join("\n");
        for (name, value) in &self.params {
            text = text.replace(&format!("${name}"), &literal(value));
        }
        text.push(';');
        text
    }
}

fn literal(value: &ScalarValue) -> String {
    match value {
        value if value.is_null() => "null".to_owned(),
        ScalarValue::Utf8(Some(text)) => format!("'{}'", text.replace('\'', "''")),
        ScalarValue::List(list) => {
            let values =
                (0..list.value(0).len()).map(|i| ScalarValue::try_from_array(&list.value(0), i));
            let values: Vec<String> = values.flatten().map(|value| literal(&value)).collect();
            format!("make_array({})", values.join(", "))
        }
        value => value.to_string(),
    }
}

/// A list of texts as a parameter.
pub(super) fn texts(values: &[String]) -> ScalarValue {
    let values: Vec<ScalarValue> =
        values.iter().map(|value| ScalarValue::from(value.as_str())).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &arrow::datatypes::DataType::Utf8))
}
