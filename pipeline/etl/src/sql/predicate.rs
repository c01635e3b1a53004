//! A condition that a person wrote by itself (`--where`). In: rows, and the condition over their columns. Out: the rows for which it is
//! true. Never runs anything; what is wrong is said as of a query.

use datafusion::prelude::{DataFrame, SessionContext};

use crate::sql::error::QueryError;
use crate::sql::explain::explained;
use crate::sql::statement::statements;

/// The rows of `frame` for which `predicate` is true; `ctx` knows the functions that it may call.
///
/// # Errors
/// It is no condition over the columns, or not the same whenever it is asked.
pub fn matching(
    ctx: &SessionContext,
    frame: DataFrame,
    predicate: &str,
) -> Result<DataFrame, QueryError> {
    let found = statements(predicate)?;
    let [statement] = &found[..] else {
        return Err(QueryError::new(format!("expected one condition, found {}", found.len()))
            .hint("such as --where \"width >= 256\""));
    };
    let text = predicate.trim_end().trim_end_matches(';');
    let state = ctx.state();
    let explain = |error| explained(&error, statement, &state);
    let expression = state.create_logical_expr(text, frame.schema()).map_err(explain)?;
    if expression.is_volatile() {
        let error = "a selection must be the same whenever it is made, and this one is random";
        return Err(QueryError::new(error));
    }
    frame.filter(expression).map_err(explain)
}
