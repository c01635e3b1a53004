//! The project's SQL files as queries. In: a file's text and its parameters. Out: frames, counts, tallies. Parameters are
//! bound, never formatted in.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::prelude::{DataFrame, SessionContext, cast, col};
use datafusion::scalar::ScalarValue;

use crate::engine::{Engine, collect};

/// The frame of a SQL file with its `$name` parameters bound.
///
/// # Errors
/// The text does not plan; `name` is named.
pub async fn frame<const N: usize>(
    ctx: &SessionContext,
    name: &str,
    text: &str,
    params: [(&str, ScalarValue); N],
) -> Result<DataFrame> {
    let frame = ctx.sql(text).await.with_context(|| format!("sql/{name}.sql"))?;
    let params: Vec<(&str, ScalarValue)> = params.into_iter().collect();
    frame.with_param_values(params).with_context(|| format!("sql/{name}.sql"))
}

/// Rows by the values of column `column` of table `table`, counted by `engine`; nulls under the empty string.
///
/// # Errors
/// The table cannot be read.
pub async fn tally(
    engine: &dyn Engine,
    ctx: &SessionContext,
    table: &str,
    column: &str,
) -> Result<BTreeMap<String, u64>> {
    let rows = ctx
        .table(table)
        .await?
        .aggregate(
            vec![col(column)],
            vec![datafusion::functions_aggregate::count::count_all().alias("n")],
        )?
        .select(vec![cast(col(column), DataType::Utf8).alias("value"), col("n")])?;
    let rows = collect(engine, rows).await?;
    let mut tally = BTreeMap::new();
    for batch in rows {
        let values = batch.column(0).as_string::<i32>();
        let counts = batch.column(1).as_primitive::<Int64Type>();
        for (value, count) in values.iter().zip(counts.values()) {
            *tally.entry(value.unwrap_or_default().to_owned()).or_default() += *count as u64;
        }
    }
    Ok(tally)
}
