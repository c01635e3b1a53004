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

/// Makes the view `rejects` of the tables in `ctx`.
///
/// # Errors
/// A table that it reads is not there.
pub(crate) async fn register_rejects(ctx: &SessionContext) -> Result<()> {
    let rejects =
        ctx.sql(include_str!("../../../sql/rejects.sql")).await.context("sql/rejects.sql")?;
    ctx.register_table("rejects", rejects.into_view())?;
    Ok(())
}
