//! Completion. In: a line up to the cursor. Out: the tables, columns, functions and keywords that its last word may become: tables
//! after `from` and `join`, columns of a table after its name and a dot.

use anyhow::Result;
use tuwen_etl::sql::Session;

/// Keywords that begin or join the parts of a query.
const KEYWORDS: [&str; 40] = [
    "and",
    "as",
    "between",
    "by",
    "case",
    "cast",
    "count",
    "cross",
    "desc",
    "describe",
    "distinct",
    "else",
    "end",
    "except",
    "exists",
    "explain",
    "from",
    "full",
    "group",
    "having",
    "in",
    "inner",
    "intersect",
    "is",
    "join",
    "left",
    "like",
    "limit",
    "not",
    "null",
    "on",
    "order",
    "over",
    "partition",
    "select",
    "tablesample",
    "union",
    "using",
    "where",
    "with",
];

/// Commands that take the name of a table.
const OF_TABLES: [&str; 5] = ["from", "join", "describe", "\\d", "\\d+"];

/// The words of a session.
pub(crate) struct Words {
    tables: Vec<Named>,
    functions: Vec<String>,
}

/// A table or view.
struct Named {
    name: String,
    columns: Vec<String>,
}

impl Words {
    /// Those of `session`, which opens nothing for it.
    ///
    /// # Errors
    /// As [`Session::columns`].
    pub(crate) async fn of(session: &Session) -> Result<Self> {
        let tables = session.columns().await?.into_iter().map(|(name, schema)| Named {
            name: name.to_owned(),
            columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
        });
        let state = session.state();
        let (scalar, aggregate) = (state.scalar_functions(), state.aggregate_functions());
        let names = scalar.keys().chain(aggregate.keys()).chain(state.window_functions().keys());
        let mut functions: Vec<String> = names.cloned().collect();
        functions.sort();
        functions.dedup();
        Ok(Self { tables: tables.collect(), functions })
    }

    /// Where the last word of `line` begins, and what it may become.
    pub(crate) fn complete(&self, line: &str) -> (usize, Vec<String>) {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '@');
        let start = line
            .rfind(|c| !is_part(c))
            .map_or(0, |at| at + line[at..].chars().next().map_or(0, char::len_utf8));
        let (before, word) = (&line[..start], line[start..].to_lowercase());
        let matching = |names: &mut dyn Iterator<Item = String>| -> Vec<String> {
            names.filter(|name| name.starts_with(&word)).collect()
        };
        if let Some(qualified) = before.strip_suffix('.') {
            let table = qualified.rsplit(|c| !is_part(c)).next().unwrap_or_default().to_lowercase();
            return (start, matching(&mut self.columns(Some(&table)).into_iter()));
        }
        let last = before.split_whitespace().next_back().unwrap_or_default().to_lowercase();
        let mut tables = self.tables.iter().map(|table| table.name.clone());
        if OF_TABLES.contains(&last.as_str()) {
            return (start, matching(&mut tables));
        }
        let functions = self.functions.iter().map(|name| format!("{name}("));
        let keywords = KEYWORDS.iter().map(|word| (*word).to_owned());
        let names = self.columns(None).into_iter().chain(tables);
        let mut words = matching(&mut names.chain(keywords).chain(functions));
        words.sort();
        words.dedup();
        (start, words)
    }

    /// The columns of a table or view, or of all; what is neither may be the alias of any.
    fn columns(&self, table: Option<&str>) -> Vec<String> {
        let is_known = self.tables.iter().any(|known| Some(known.name.as_str()) == table);
        let tables = self.tables.iter();
        let tables = tables.filter(|known| !is_known || Some(known.name.as_str()) == table);
        let mut names: Vec<String> = tables.flat_map(|table| table.columns.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_completed_by_what_stands_before_it() {
        let table = |name: &str, columns: &[&str]| Named {
            name: name.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        let words = Words {
            tables: vec![
                table("images", &["image_id", "dhash", "orientation", "oriented"]),
                table("pairs", &["pair_id", "text"]),
                table("rejects", &["stage", "id", "reason"]),
            ],
            functions: vec!["image_format".to_owned()],
        };
        for (line, start, expected) in [
            ("select * from ima", 14, &["images"][..]),
            ("select * from ", 14, &["images", "pairs", "rejects"]),
            ("\\d+ im", 4, &["images"]),
            ("select images.dh", 14, &["dhash"]),
            ("select x.orien", 9, &["orientation", "oriented"]),
            ("select rejects.", 15, &["id", "reason", "stage"]),
            ("select image", 7, &["image_format(", "image_id", "images"]),
            ("select '红', image_f", 14, &["image_format("]),
            ("xyzzy", 0, &[]),
        ] {
            let (at, found) = words.complete(line);
            assert_eq!(
                (at, found),
                (start, expected.iter().map(|w| (*w).to_owned()).collect()),
                "{line}"
            );
        }
    }
}
