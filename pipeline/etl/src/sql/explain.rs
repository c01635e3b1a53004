//! What is wrong with a query, in words of its own. In: an error of DataFusion, and the statement. Out: the error as its writer sees
//! it. What is the engine's own fault is said as the limit that it is, with the query: nobody is asked to report it.

use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::parser::ParserError;

use crate::sql::error::QueryError;
use crate::sql::statement::Statement;

/// What DataFusion said of `statement`, which it planned or ran under `state`.
pub(super) fn explained(
    error: &DataFusionError,
    statement: &Statement,
    state: &SessionState,
) -> QueryError {
    let diagnosed = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let place = diagnosed.map(|span| statement.place(span.start.line, span.start.column));
    let root = root(error);
    if let DataFusionError::External(external) = root
        && let Some(own) = external.downcast_ref::<QueryError>()
    {
        return own.clone();
    }
    let found = match root {
        DataFusionError::SQL(error, _) => of_parser(error, statement),
        DataFusionError::SchemaError(error, _) => of_schema(error, statement),
        DataFusionError::Plan(message) => of_plan(message, statement, state),
        DataFusionError::NotImplemented(message) => {
            QueryError::new(format!("not supported: {}", flat(message)))
        }
        DataFusionError::ResourcesExhausted(message) => QueryError::new(format!(
            "not enough memory for this query: {}",
            flat(message.split("\nThe top memory consumers").next().unwrap_or(message))
        ))
        .hint(
            "--memory-limit SIZE allows more; fewer columns, or a join of fewer rows, needs less",
        ),
        DataFusionError::Internal(message) => {
            let message = message.split("\nThis issue was likely").next().unwrap_or(message);
            QueryError::new(format!(
                "the engine cannot run this query: {}\nquery: {}",
                flat(message),
                flat(statement.sql())
            ))
            .hint("the same rows can often be had by another join or a CTE")
        }
        other => QueryError::new(flat(&other.message())),
    };
    match place {
        Some(place) => found.at(place),
        None => found,
    }
}

/// What all the others are wrapped around.
fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Shared(inner) => root(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, root),
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            arrow::error::ArrowError::ExternalError(inner) => {
                inner.downcast_ref().map_or(error, root)
            }
            _ => error,
        },
        DataFusionError::External(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => root(inner),
            None => error,
        },
        _ => error,
    }
}

/// `Expected: an expression, found: from at Line: 1, Column: 8`, which says nothing of where if that is the end.
fn of_parser(error: &ParserError, statement: &Statement) -> QueryError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => {
            return QueryError::new("syntax error: expressions lie too deep in each other");
        }
    };
    let (message, place) = match message.rsplit_once(" at Line: ") {
        Some((message, place)) => {
            let mut numbers = place.split(", Column: ").map(|n| n.trim().parse::<u64>());
            match (numbers.next(), numbers.next()) {
                (Some(Ok(line)), Some(Ok(column))) => (message, statement.place(line, column)),
                _ => (message, statement.end()),
            }
        }
        None => (message.as_str(), statement.end()),
    };
    let message = message.replace("Expected: ", "expected ").replace("found: EOF", "found the end");
    let message = message.replace("found: ", "found ");
    QueryError::new(format!("syntax error: {}", flat(&message))).at(place)
}

fn of_schema(error: &SchemaError, statement: &Statement) -> QueryError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let name = &field.name;
            let known =
                |column: &&Column| field.relation.is_none() || column.relation == field.relation;
            let of = field.relation.as_ref().map_or_else(String::new, |of| format!(" of `{of}`"));
            let missing_table = field.relation.is_some() && !valid_fields.iter().any(|f| known(&f));
            let place = statement.place_of(name);
            let error = QueryError::new(format!("column `{name}`{of} does not exist")).at(place);
            if missing_table {
                let tables = valid_fields.iter().filter_map(|field| field.relation.as_ref());
                let mut tables: Vec<String> = tables.map(ToString::to_string).collect();
                tables.sort_unstable();
                tables.dedup();
                return error.hint(format!("the query reads {}", tables.join(", ")));
            }
            let names: Vec<&str> =
                valid_fields.iter().filter(known).map(|field| field.name.as_str()).collect();
            let near = error.meant(name, names.iter().copied());
            if near.has_hint() || names.is_empty() {
                return near;
            }
            near.hint(format!("columns are {}", listed(&names)))
        }
        SchemaError::AmbiguousReference { field } => {
            QueryError::new(format!("column `{}` is ambiguous", field.name))
                .at(statement.place_of(&field.name))
                .hint(format!("name its table: TABLE.{}", field.name))
        }
        other => QueryError::new(flat(&other.to_string())),
    }
}

fn of_plan(message: &str, statement: &Statement, state: &SessionState) -> QueryError {
    let function = message.strip_prefix("Invalid function '");
    if let Some(name) = function.and_then(|rest| rest.split('\'').next()) {
        let (scalar, aggregate) = (state.scalar_functions(), state.aggregate_functions());
        let known = scalar.keys().chain(aggregate.keys()).chain(state.window_functions().keys());
        return QueryError::new(format!("function `{name}` does not exist"))
            .at(statement.place_of(name))
            .meant(name, known.map(String::as_str));
    }
    QueryError::new(flat(message))
}

/// At most ten names.
fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(10).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 10 { format!("{shown}, …") } else { shown }
}

/// On one line.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
