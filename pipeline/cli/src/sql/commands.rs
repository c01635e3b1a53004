//! Commands that begin with a backslash, as psql has them. In: a text, in which they stand between statements, each on a line of its
//! own. Out: what it asks for; tables, columns and functions as rows.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use clap::ValueEnum;
use tuwen_etl::sql::{
    FUNCTIONS, Params, QueryError, Session, Statement, is_whole, sql_type, statements,
};
use tuwen_schemas::{COMMENT, TABLES};

use crate::sql::output::Format;

/// What `\?` prints.
pub(crate) const HELP: &str = "\
  SQL ends with a semicolon and may take several lines
  \\d            tables and views
  \\d NAME       columns of a table or view; \\d+ NAME with what they mean
  \\df [NAME]    tuwen's functions, or all whose name contains NAME
  \\timing       says how long a query takes, or no longer does
  \\f FORMAT     table, csv, tsv, json, ndjson or markdown
  \\rows N       rows that are shown; 0 for all
  \\set NAME VALUE   a value for the parameter $NAME
  \\i FILE       runs the statements and commands of a file
  \\q            ends, as Ctrl-D does; Ctrl-C ends a query";

/// One of the things that a text asks for.
pub(crate) enum Asked {
    Command(Command),
    Statement(Statement),
}

/// What `text` asks for, in its order.
///
/// # Errors
/// A quote or a comment is not closed, or a line is no command that there is.
pub(crate) fn asked(text: &str) -> Result<Vec<Asked>, QueryError> {
    let mut all = Vec::new();
    // What stands since the last command, below as many empty lines as errors have to count.
    let mut open = String::new();
    for (at, line) in text.trim_start_matches('\u{feff}').split_inclusive('\n').enumerate() {
        if !(line.trim_start().starts_with('\\') && is_between(&open)) {
            open.push_str(line);
            continue;
        }
        all.extend(statements(&open)?.into_iter().map(Asked::Statement));
        all.extend(Command::of(line)?.map(Asked::Command));
        open = "\n".repeat(at + 1);
    }
    all.extend(statements(&open)?.into_iter().map(Asked::Statement));
    Ok(all)
}

/// Whether no statement of `text` is still to come to its end.
fn is_between(text: &str) -> bool {
    is_whole(text) || statements(text).is_ok_and(|statements| statements.is_empty())
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Tables,
    Columns { table: String, comments: bool },
    Functions { name: Option<String> },
    Timing,
    Format(Format),
    Rows(usize),
    Set { name: String, value: String },
    Include(String),
    Help,
    Quit,
}

impl Command {
    /// The command of `line`; none if it does not begin with a backslash.
    ///
    /// # Errors
    /// There is no such command, or it lacks something.
    fn of(line: &str) -> Result<Option<Self>, QueryError> {
        let line = line.trim().trim_end_matches(';').trim_end();
        let Some(line) = line.strip_prefix('\\') else { return Ok(None) };
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let expected =
            |what: &str| QueryError::new(format!("\\{name}: expected {what}, found `{rest}`"));
        let command = match (name, rest) {
            ("d" | "dt" | "d+", "") => Self::Tables,
            ("d" | "d+", table) => {
                Self::Columns { table: table.to_owned(), comments: name == "d+" }
            }
            ("df", "") => Self::Functions { name: None },
            ("df", name) => Self::Functions { name: Some(name.to_lowercase()) },
            ("timing", "") => Self::Timing,
            ("f", format) => Self::Format(
                Format::from_str(format, true)
                    .ok()
                    .filter(|format| *format != Format::Parquet)
                    .ok_or_else(|| expected("table, csv, tsv, json, ndjson or markdown"))?,
            ),
            ("rows", n) => Self::Rows(n.parse().map_err(|_| expected("a number of rows"))?),
            ("set", rest) => {
                let (name, value) =
                    rest.split_once(char::is_whitespace).ok_or_else(|| expected("NAME VALUE"))?;
                Self::Set { name: name.to_owned(), value: value.trim().to_owned() }
            }
            ("i", "") => return Err(expected("a file")),
            ("i", file) => Self::Include(file.to_owned()),
            ("?" | "h" | "help", _) => Self::Help,
            ("q" | "quit", _) => Self::Quit,
            _ => {
                return Err(QueryError::new(format!("\\{name}: there is no such command"))
                    .hint("\\? lists them"));
            }
        };
        Ok(Some(command))
    }
}

/// All tables and views, with versions and rows as far as the logs say.
pub(crate) fn tables(session: &Session) -> Result<RecordBatch> {
    let snapshot = session.snapshot();
    let rows = Session::tables().map(|name| {
        let is_table = TABLES.iter().any(|table| table.name == name);
        let version = is_table.then(|| snapshot.version(name)).flatten();
        let n_rows = is_table.then(|| snapshot.n_rows(name, None).ok()).flatten();
        let kind = if is_table { "table" } else { "view" };
        vec![
            Some(name.to_owned()),
            Some(kind.to_owned()),
            version.map(|version| version.to_string()),
            n_rows.map(|n_rows| n_rows.to_string()),
        ]
    });
    text_batch(&["name", "kind", "version", "rows"], &rows.collect::<Vec<_>>())
}

/// The columns of a table or view, at any version, with their comments if that is wanted.
///
/// # Errors
/// There is none of that name.
pub(crate) async fn columns(session: &Session, table: &str, comments: bool) -> Result<RecordBatch> {
    let own = TABLES.iter().find(|own| own.name == table.to_lowercase());
    let schema = match own {
        Some(own) => Arc::clone(&own.schema),
        None => {
            if !matches!(&statements(table)?[..], [name] if name.is_table_name()) {
                let error = format!("\\d: expected the name of one table or view, found `{table}`");
                return Err(QueryError::new(error).into());
            }
            let statement = statements(&format!("select * from {table}"))?.remove(0);
            let prepared = session.prepare(&statement, &Params::default()).await?;
            Arc::new(prepared.frame().schema().as_arrow().clone())
        }
    };
    let rows = schema.fields().iter().map(|field| {
        let is_key = own.is_some_and(|own| own.key.contains(field.name()));
        let null = if field.is_nullable() { "" } else { "not null" };
        let mut row = vec![
            Some(field.name().clone()),
            Some(sql_type(field.data_type())),
            Some(if is_key { "key".to_owned() } else { null.to_owned() }),
        ];
        if comments {
            row.push(Some(field.metadata().get(COMMENT).cloned().unwrap_or_default()));
        }
        row
    });
    let names = &["column", "type", "", "meaning"][..if comments { 4 } else { 3 }];
    text_batch(names, &rows.collect::<Vec<_>>())
}

/// Tuwen's functions, or with a name all that contain it.
pub(crate) fn functions(session: &Session, name: Option<&str>) -> Result<RecordBatch> {
    let mut rows: Vec<Vec<Option<String>>> = FUNCTIONS
        .iter()
        .filter(|function| name.is_none_or(|name| function.name().contains(name)))
        .map(|function| vec![Some(function.call.to_owned()), Some(function.gives.to_owned())])
        .collect();
    if let Some(name) = name {
        rows.extend(engine_functions(session, name));
    }
    text_batch(&["function", "gives"], &rows)
}

/// Those of the engine whose name contains `name`, by their name.
fn engine_functions(session: &Session, name: &str) -> Vec<Vec<Option<String>>> {
    let state = session.state();
    let scalar = state.scalar_functions().iter().map(|(n, f)| (n, f.documentation()));
    let aggregate = state.aggregate_functions().iter().map(|(n, f)| (n, f.documentation()));
    let window = state.window_functions().iter().map(|(n, f)| (n, f.documentation()));
    let is_ours = |name: &str| FUNCTIONS.iter().any(|function| function.name() == name);
    let mut found: Vec<(String, String)> = scalar
        .chain(aggregate)
        .chain(window)
        .filter(|(known, _)| known.contains(name) && !is_ours(known))
        .map(|(known, documentation)| match documentation {
            Some(documentation) => {
                let first = documentation.description.split(". ").next().unwrap_or_default();
                let gives = first.split_whitespace().collect::<Vec<_>>().join(" ");
                (documentation.syntax_example.clone(), gives.trim_end_matches('.').to_owned())
            }
            None => (known.clone(), String::new()),
        })
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().map(|(call, gives)| vec![Some(call), Some(gives)]).collect()
}

/// Rows of text under `names`.
fn text_batch(names: &[&str], rows: &[Vec<Option<String>>]) -> Result<RecordBatch> {
    let columns = names.iter().enumerate().map(|(at, name)| {
        let texts: StringArray = rows.iter().map(|row| row[at].clone()).collect();
        (*name, Arc::new(texts) as ArrayRef, true)
    });
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_a_backslash_are_commands() {
        let columns =
            |table: &str, comments| Command::Columns { table: table.to_owned(), comments };
        for (line, expected) in [
            ("select 1", None),
            ("\\d", Some(Command::Tables)),
            ("  \\d+ images ; ", Some(columns("images", true))),
            ("\\d images@v3", Some(columns("images@v3", false))),
            ("\\df HASH", Some(Command::Functions { name: Some("hash".to_owned()) })),
            ("\\f csv", Some(Command::Format(Format::Csv))),
            ("\\rows 0", Some(Command::Rows(0))),
            (
                "\\set split a b",
                Some(Command::Set { name: "split".to_owned(), value: "a b".to_owned() }),
            ),
            ("\\q", Some(Command::Quit)),
        ] {
            assert_eq!(Command::of(line).unwrap(), expected, "{line}");
        }
        for line in ["\\x", "\\f parquet", "\\rows many", "\\set a", "\\i"] {
            assert!(Command::of(line).is_err(), "{line}");
        }
    }

    #[test]
    fn commands_stand_between_statements() {
        let shown = |text: &str| -> Result<Vec<String>, QueryError> {
            let shown = asked(text)?.into_iter().map(|asked| match asked {
                Asked::Command(command) => format!("{command:?}"),
                Asked::Statement(statement) => statement.sql().to_owned(),
            });
            Ok(shown.collect())
        };
        for (text, expected) in [
            ("", &[][..]),
            ("\\d\n\\timing\n", &["Tables", "Timing"]),
            ("\u{feff}-- tables\n  \\d;\r\nselect 1", &["Tables", "select 1"]),
            (
                "select 1; select\n2;\n\\q\nselect 3;",
                &["select 1", "select\n2", "Quit", "select 3"],
            ),
            ("select '\n\\d\n'", &["select '\n\\d\n'"]),
            ("/*\n\\x\n*/ select 1", &["select 1"]),
        ] {
            assert_eq!(shown(text).unwrap(), expected, "{text}");
        }
        let error = shown("\\d\n\nselect 1;\n\\timing\nselect '图").unwrap_err().to_string();
        assert!(error.contains("LINE 5: select '图"), "{error}");
        assert!(shown("select 1;\n\\x").is_err());
    }
}
