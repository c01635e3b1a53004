//! `tablesample`, which the engine parses and forgets. In: a parsed statement. Out: the same, each sampled table a query that keeps a
//! row with the probability that was asked for, or so many rows. What it does not do it refuses.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{
    Ident, SetExpr, TableAlias, TableFactor, TableSample, TableSampleKind, TableSampleUnit,
    VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::sql::error::QueryError;

/// Rewrites the sampled tables of `parsed`.
pub(super) fn sampled(parsed: &mut Parsed) -> Result<(), QueryError> {
    match parsed {
        Parsed::Statement(statement) => match statement.visit(&mut Sampling) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        },
        Parsed::Explain(explain) => sampled(&mut explain.statement),
        _ => Ok(()),
    }
}

struct Sampling;

impl VisitorMut for Sampling {
    type Break = QueryError;

    /// After what is in it, so that the query that is made here is not visited.
    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<QueryError> {
        let (sample, alias) = match factor {
            TableFactor::Table { name, alias, sample, .. } => {
                // A table without an alias keeps its name.
                let own_name = name.0.last().and_then(|part| part.as_ident()).cloned();
                (sample.take(), alias.clone().or_else(|| own_name.map(alias_of)))
            }
            TableFactor::Derived { alias, sample, .. } => (sample.take(), alias.clone()),
            _ => return ControlFlow::Continue(()),
        };
        let Some(
            TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample),
        ) = sample
        else {
            return ControlFlow::Continue(());
        };
        match sampling_query(&sample, factor) {
            Ok(subquery) => {
                *factor = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn alias_of(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}

/// `select * from FACTOR` with what keeps some of its rows.
fn sampling_query(
    sample: &TableSample,
    factor: &TableFactor,
) -> Result<Box<datafusion::sql::sqlparser::ast::Query>, QueryError> {
    let refused = |what: &str| {
        Err(QueryError::new(format!("tablesample: {what} is not supported"))
            .hint("tablesample (10), 10 percent, draws each row by itself; (100 rows) so many"))
    };
    if sample.seed.is_some() {
        return refused("repeatable");
    }
    let Some(quantity) = sample.quantity.as_ref().filter(|_| sample.bucket.is_none()) else {
        return refused("bucket");
    };
    if sample.offset.is_some() {
        return refused("offset");
    }
    let number: f64 = quantity.value.to_string().parse().unwrap_or(-1.0);
    let clause = match quantity.unit {
        Some(TableSampleUnit::Rows) if number >= 0.0 && number.fract() == 0.0 => {
            format!("order by random() limit {number}")
        }
        Some(TableSampleUnit::Percent) | None if (0.0..=100.0).contains(&number) => {
            format!("where random() < {number} / 100.0")
        }
        _ => {
            return Err(QueryError::new(format!(
                "tablesample: expected 0 to 100 percent, or a whole number of rows, found `{}`",
                quantity.value
            )));
        }
    };
    let parsed = Parser::new(&GenericDialect {})
        .try_with_sql(&format!("select * from sampled {clause}"))
        .and_then(|mut parser| parser.parse_query());
    let mut query = parsed.map_err(|error| QueryError::new(error.to_string()))?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from[0].relation = factor.clone();
    }
    Ok(query)
}
