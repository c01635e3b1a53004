//! A person's SQL. In: one query over the tables and views of a corpus. Out: its rows. Never writes.

use anyhow::{Context, Result};
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{DataFrame, SessionContext};

/// The rows of `query`, which may only read.
///
/// # Errors
/// The query is wrong, or is not read-only.
pub async fn read_only(ctx: &SessionContext, query: &str) -> Result<DataFrame> {
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    Ok(ctx.sql_with_options(query, read_only).await?)
}

/// The views, each with its text.
pub(crate) const VIEWS: [(&str, &str); 2] = [
    ("rejects", include_str!("../../../sql/rejects.sql")),
    ("hosts", include_str!("../../../sql/hosts.sql")),
];

/// Makes the views of [`VIEWS`] of the tables in `ctx`.
///
/// # Errors
/// A table that they read is not there.
pub(crate) async fn register_views(ctx: &SessionContext) -> Result<()> {
    for (name, text) in VIEWS {
        register_view(ctx, name, text).await?;
    }
    Ok(())
}

/// Makes one view of the tables in `ctx`.
///
/// # Errors
/// A table that it reads is not there.
pub(crate) async fn register_view(ctx: &SessionContext, name: &str, text: &str) -> Result<()> {
    let view = ctx.sql(text).await.with_context(|| format!("sql/{name}.sql"))?;
    ctx.register_table(name, view.into_view())?;
    Ok(())
}
