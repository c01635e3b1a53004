//! What is wrong with a query, in words of its own. In: an error of DataFusion, and the statement. Out: the error as its writer sees
//! it. What is the engine's own fault is said as the limit that it is, with the query: nobody is asked to report it.

use datafusion::common::{Column, DataFusionError, Diagnostic, SchemaError};
use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::parser::ParserError;

use crate::sql::error::{QueryError, lower_first};
use crate::sql::statement::Statement;

/// Names of a list that are shown.
const LISTED: usize = 10;

/// What says nothing to who wrote a query.
const NOISE: [&str; 5] = [
    ". This issue was likely caused by a bug in DataFusion's code. Please help us to resolve this by filing a bug report in our issue tracker: https://github.com/apache/datafusion/issues",
    "Internal error: ",
    "Error during planning: ",
    "Execution error: ",
    "External error: ",
];

/// Words that a statement may begin with.
const FIRST_WORDS: [&str; 6] = ["select", "with", "values", "explain", "describe", "show"];

/// What DataFusion said of `statement`, which it planned or ran under `state`.
pub(super) fn explained(
    error: &DataFusionError,
    statement: &Statement,
    state: &SessionState,
) -> QueryError {
    let diagnostic = error.diagnostic();
    let root = root(error);
    if let DataFusionError::External(external) = root
        && let Some(own) = external.downcast_ref::<QueryError>()
    {
        return own.clone();
    }
    let found = match root {
        DataFusionError::SQL(error, _) => of_parser(error, statement),
        DataFusionError::SchemaError(error, _) => of_schema(error, statement),
        DataFusionError::Plan(message) => of_plan(message, diagnostic, statement, state),
        DataFusionError::NotImplemented(message) if message.contains("OuterReferenceColumn") => {
            QueryError::new(
                "a subquery that reads columns of the outer query is not supported here",
            )
            .hint("the same rows can be had by a join")
        }
        DataFusionError::NotImplemented(message) => {
            QueryError::new(format!("not supported: {}", plain(message)))
        }
        DataFusionError::ResourcesExhausted(message) => of_resources(message),
        DataFusionError::Internal(message) => QueryError::new(format!(
            "the engine cannot run this query: {}\nquery: {}",
            plain(message),
            plain(statement.sql())
        ))
        .hint("the same rows can often be had by another join or a CTE"),
        other => QueryError::new(plain(&other.message())),
    };
    match diagnostic.and_then(|diagnostic| diagnostic.span) {
        Some(span) => found.at(statement.place(span.start.line, span.start.column)),
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
    let error = QueryError::new(format!("syntax error: {}", plain(&message))).at(place);
    match message.strip_prefix("expected an SQL statement, found ") {
        Some(word) => error.meant(word, FIRST_WORDS),
        None => error,
    }
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
        other => QueryError::new(plain(&other.to_string())),
    }
}

fn of_plan(
    message: &str,
    diagnostic: Option<&Diagnostic>,
    statement: &Statement,
    state: &SessionState,
) -> QueryError {
    let function = message.strip_prefix("Invalid function '");
    if let Some(name) = function.and_then(|rest| rest.split('\'').next()) {
        let (scalar, aggregate) = (state.scalar_functions(), state.aggregate_functions());
        let known = scalar.keys().chain(aggregate.keys()).chain(state.window_functions().keys());
        return QueryError::new(format!("function `{name}` does not exist"))
            .at(statement.place_of(name))
            .meant(name, known.map(String::as_str));
    }
    // `…No function matches the given name and argument types 'abs(Utf8)'.… Candidate functions:\n\tabs(Numeric(1))`
    if let Some((_, rest)) = message.split_once("given name and argument types '")
        && let Some((call, candidates)) = rest.split_once('\'')
    {
        let name = call.split('(').next().unwrap_or(call);
        let error = QueryError::new(format!("no function `{call}`: other types were expected"))
            .at(statement.place_of(name));
        return match candidates.split_once("Candidate functions:") {
            Some((_, candidates)) => {
                let lines = candidates.lines().map(str::trim).filter(|line| !line.is_empty());
                let listed = lines.take(LISTED).collect::<Vec<_>>().join(", ");
                error.hint(format!("there is {listed}"))
            }
            None => error,
        };
    }
    match diagnostic {
        Some(diagnostic) => {
            let error = QueryError::new(plain(&diagnostic.message));
            match diagnostic.helps.first() {
                Some(help) => error.hint(lower_first(&plain(&help.message))),
                None => error,
            }
        }
        None => QueryError::new(plain(message)),
    }
}

/// `Additional allocation failed for SortExec[0] with … the total memory pool: fair(pool_size: 100.0 MB)`
fn of_resources(message: &str) -> QueryError {
    let operator = message.split_once("failed for ").map(|(_, rest)| {
        let consumer = rest.split(" with ").next().unwrap_or(rest);
        consumer.split(['[', '#']).next().unwrap_or(consumer)
    });
    let limit = message.split_once("pool_size: ").and_then(|(_, rest)| rest.split(')').next());
    let error = match (operator, limit) {
        (Some(operator), Some(limit)) => {
            QueryError::new(format!("the query needs more memory than {limit} ({operator})"))
        }
        _ => QueryError::new(format!("the query needs more memory: {}", plain(message))),
    };
    error.hint("--memory-limit SIZE allows more; fewer columns, or a filter on a join, needs less")
}

/// At most [`LISTED`] names.
fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > LISTED { format!("{shown}, …") } else { shown }
}

/// On one line, without what DataFusion puts around it.
fn plain(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    NOISE.iter().fold(text, |text, noise| text.replace(noise, ""))
}
