//! The query of a selection. In: a session with the tables, a split, a predicate. Out: the examples that it asks for, as a frame.
//! Never opens a table, and never runs the query.

use anyhow::{Context, Result, anyhow, bail};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::dataframe::DataFrame;
use datafusion::prelude::{Expr, SessionContext};
use datafusion::scalar::ScalarValue;

/// Examples of a split.
const SPLIT_SQL: &str = include_str!("../../../../sql/stream_split.sql");

/// Examples of a split with the light columns of their images.
const SELECTION_SQL: &str = include_str!("../../../../sql/stream_selection.sql");

/// The same with what `scores` says of them, which takes a join with all of it.
const SCORED_SQL: &str = include_str!("../../../../sql/stream_scored.sql");

/// The columns that [`SCORED_SQL`] has beyond those of [`SELECTION_SQL`].
const SCORE_COLUMNS: [&str; 3] = ["loss", "loss_without_image", "gain"];

/// The examples of `split` for which `predicate` is true: example_id, image_id, input_ids. `ctx` has the table `examples`; with a
/// predicate also `images`, and `scores` if the predicate speaks of its columns.
///
/// # Errors
/// A predicate that is not SQL over the columns, or not the same whenever it is asked.
pub async fn asked_examples(
    ctx: &SessionContext,
    split: &str,
    predicate: Option<&str>,
) -> Result<DataFrame> {
    let Some(predicate) = predicate else { return frame(ctx, SPLIT_SQL, split).await };
    let mut selection = frame(ctx, SELECTION_SQL, split).await?;
    if names_scores(ctx, split, predicate).await? {
        ctx.register_table("stream_selection", selection.into_view())?;
        selection = ctx.sql(SCORED_SQL).await?;
        ctx.deregister_table("stream_selection")?;
    }
    filter(selection, predicate)
}

/// Whether `predicate` speaks of a column of `scores`. `ctx` has the tables `examples` and `images`.
///
/// # Errors
/// A predicate that is not SQL over the columns.
pub(super) async fn names_scores(
    ctx: &SessionContext,
    split: &str,
    predicate: &str,
) -> Result<bool> {
    let selection = frame(ctx, SELECTION_SQL, split).await?;
    let scores = SCORE_COLUMNS.map(|name| Field::new(name, DataType::Float32, true));
    let scores = DFSchema::try_from(Schema::new(scores.to_vec()))?;
    let expression = parse(ctx, &selection.schema().join(&scores)?, predicate)?;
    let named = expression.column_refs();
    Ok(SCORE_COLUMNS.iter().any(|name| named.iter().any(|column| column.name == *name)))
}

async fn frame(ctx: &SessionContext, sql: &str, split: &str) -> Result<DataFrame> {
    let split = ScalarValue::from(split);
    Ok(ctx.sql(sql).await?.with_param_values(vec![("split", split)])?)
}

fn parse(ctx: &SessionContext, columns: &DFSchema, predicate: &str) -> Result<Expr> {
    ctx.parse_sql_expr(predicate, columns).map_err(|error| {
        let names: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
        let names = names.join(", ");
        anyhow!("predicate `{predicate}`: {error}\nhint: it may speak of the columns {names}")
    })
}

/// The rows of `selection` for which `predicate` is true, with the columns of [`SPLIT_SQL`].
fn filter(selection: DataFrame, predicate: &str) -> Result<DataFrame> {
    let expression = selection.parse_sql_expr(predicate)?;
    if expression.is_volatile() {
        bail!(
            "predicate `{predicate}`: a selection must be the same whenever it is made, and this one is random"
        );
    }
    let filtered =
        selection.filter(expression).with_context(|| format!("predicate `{predicate}`"))?;
    Ok(filtered.select_columns(&["example_id", "image_id", "input_ids"])?)
}
