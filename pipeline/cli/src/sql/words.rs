//! Completion. In: a line up to the cursor. Out: the tables, columns, functions and keywords that its last word may become: tables
//! after `from` and `join`, columns of a table after its name and a dot.

use tuwen_etl::sql::Session;
use tuwen_schemas::TABLES;

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
    tables: Vec<String>,
    functions: Vec<String>,
}

impl Words {
    pub(crate) fn of(session: &Session) -> Self {
        let state = session.state();
        let (scalar, aggregate) = (state.scalar_functions(), state.aggregate_functions());
        let names = scalar.keys().chain(aggregate.keys()).chain(state.window_functions().keys());
        let mut functions: Vec<String> = names.cloned().collect();
        functions.sort();
        functions.dedup();
        Self { tables: Session::tables().map(str::to_owned).collect(), functions }
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
            return (start, matching(&mut columns(Some(&table)).into_iter()));
        }
        let last = before.split_whitespace().next_back().unwrap_or_default().to_lowercase();
        if OF_TABLES.contains(&last.as_str()) {
            return (start, matching(&mut self.tables.iter().cloned()));
        }
        let functions = self.functions.iter().map(|name| format!("{name}("));
        let keywords = KEYWORDS.iter().map(|word| (*word).to_owned());
        let names = columns(None).into_iter().chain(self.tables.iter().cloned());
        let mut words = matching(&mut names.chain(keywords).chain(functions));
        words.sort();
        words.dedup();
        (start, words)
    }
}

/// The columns of a table, or of all; what is no table may be the alias of any.
fn columns(table: Option<&str>) -> Vec<String> {
    let is_known = TABLES.iter().any(|known| Some(known.name) == table);
    let tables = TABLES.iter().filter(|known| !is_known || Some(known.name) == table);
    let mut names: Vec<String> = tables
        .flat_map(|table| table.schema.fields().iter().map(|field| field.name().clone()))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_completed_by_what_stands_before_it() {
        let words = Words {
            tables: ["images", "pairs"].map(str::to_owned).to_vec(),
            functions: vec!["image_format".to_owned()],
        };
        for (line, start, expected) in [
            ("select * from ima", 14, &["images"][..]),
            ("select * from ", 14, &["images", "pairs"]),
            ("\\d+ im", 4, &["images"]),
            ("select images.dh", 14, &["dhash"]),
            ("select x.orien", 9, &["orientation", "oriented"]),
            ("select image", 7, &["image_format(", "image_id", "images", "images_version"]),
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
