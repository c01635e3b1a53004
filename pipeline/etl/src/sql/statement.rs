//! A text of SQL as statements. In: what a person wrote, or a file. Out: its statements, each of which knows where in the text it
//! stands. Never plans anything.

use std::sync::Arc;

use datafusion::sql::parser::{DFParserBuilder, Statement as Parsed};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{
    Location, Span, Token, TokenWithSpan, Tokenizer, Word,
};

use crate::sql::error::{QueryError, lower_first};
use crate::sql::place::Place;

/// How deep expressions and queries may lie in each other.
const RECURSION_LIMIT: usize = 50;

/// Operators that may stand one after the other: `1 + 1 + 1 …` is a tree as deep as it is long, which the parser does not count, and
/// whoever walks it needs stack for each.
const MOST_OPERATORS: usize = 1000;

/// One statement of a text.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The whole text.
    text: Arc<str>,
    /// Blanks and comments left out.
    tokens: Vec<TokenWithSpan>,
}

/// The statements of `text`, which semicolons part; those of nothing but comments are left out.
///
/// # Errors
/// A quote or a comment is not closed.
pub fn statements(text: &str) -> Result<Vec<Statement>, QueryError> {
    // Editors of some systems mark a file as UTF-8 so.
    let text: Arc<str> = text.trim_start_matches('\u{feff}').into();
    let tokens = Tokenizer::new(&GenericDialect {}, &text).tokenize_with_location();
    let tokens = tokens.map_err(|error| {
        let place = Place::of(&text, error.location);
        QueryError::new(format!("syntax error: {}", lower_first(&error.message))).at(place)
    })?;
    let parts = tokens.split(|token| token.token == Token::SemiColon);
    let parts = parts.map(|part| {
        let tokens = part.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
        Statement { text: Arc::clone(&text), tokens: tokens.cloned().collect() }
    });
    Ok(parts.filter(|statement| !statement.tokens.is_empty()).collect())
}

/// Whether `text` ends in a semicolon that is in no quote and no comment, so that nothing more of it is to come.
pub fn is_whole(text: &str) -> bool {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize();
    let is_blank = |token: &Token| matches!(token, Token::Whitespace(_));
    tokens.is_ok_and(|tokens| {
        tokens.iter().rfind(|token| !is_blank(token)) == Some(&Token::SemiColon)
    })
}

impl Statement {
    /// The statement as it was written, without the semicolon.
    pub fn sql(&self) -> &str {
        let (first, last) =
            (self.tokens[0].span.start, self.tokens[self.tokens.len() - 1].span.end);
        &self.text[offset(&self.text, first)..offset(&self.text, last)]
    }

    /// Whether it is no more than the name of a table, be it of a schema or as it was: `name@v3`, `name as of 'TIME'`.
    pub fn is_table_name(&self) -> bool {
        let mut parts = pinned(&self.tokens).into_iter().map(|part| part.token);
        loop {
            match (parts.next(), parts.next()) {
                (Some(Token::Word(_)), None) => return true,
                (Some(Token::Word(_)), Some(Token::Period)) => {}
                _ => return false,
            }
        }
    }

    /// Whether it reads tables as they were: what is opened for it is of use to few others.
    pub fn reads_the_past(&self) -> bool {
        pinned(&self.tokens).iter().any(|token| match &token.token {
            Token::Word(word) => word.value.contains('@'),
            _ => false,
        })
    }

    /// The names of its parameters, without a dollar sign, each once: numbers in their order, others as they come.
    pub fn parameters(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for token in numbered(self.tokens.clone()) {
            let Token::Placeholder(id) = token.token else { continue };
            let name = id.trim_start_matches('$');
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        // A stable sort: names that are no number stay where they are.
        names.sort_by_key(|name| name.parse::<usize>().unwrap_or(usize::MAX));
        names
    }

    /// Parses it; `name as of 'TIME'` and `name version as of N` become the table called `name@TIME` and `name@vN`, and the nth `?`
    /// the parameter `$n`.
    ///
    /// # Errors
    /// It is not SQL.
    pub(super) fn parse(&self) -> datafusion::common::Result<Parsed> {
        if longest_chain(&self.tokens) > MOST_OPERATORS {
            let said = format!("expected at most {MOST_OPERATORS} operators in a row, found more");
            return Err(QueryError::new(said).hint("`in (…)` takes any number of values").into());
        }
        let parser = DFParserBuilder::new(numbered(pinned(&self.tokens)))
            .with_recursion_limit(RECURSION_LIMIT)
            .build();
        let mut parsed = parser?.parse_statements()?;
        // Semicolons are not among the tokens, so there is one.
        Ok(parsed.pop_front().expect("a statement has tokens"))
    }

    /// A line and a column of the whole text, both from 1 on.
    pub(super) fn place(&self, line: u64, column: u64) -> Place {
        Place::of(&self.text, Location { line, column })
    }

    /// Behind its last token.
    pub(super) fn end(&self) -> Place {
        Place::of(&self.text, self.tokens[self.tokens.len() - 1].span.end)
    }

    /// Where the identifier `name` stands first.
    pub(super) fn place_of(&self, name: &str) -> Option<Place> {
        let found = self.tokens.iter().find(|token| {
            matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case(name))
        });
        found.map(|token| Place::of(&self.text, token.span.start))
    }
}

/// `tokens` with each parameter that has no name, as JDBC and Python's DBAPI write them, under its number.
fn numbered(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let unnamed = tokens.iter_mut().filter(|token| is_unnamed(&token.token));
    for (at, token) in unnamed.enumerate() {
        token.token = Token::Placeholder(format!("${}", at + 1));
    }
    tokens
}

fn is_unnamed(token: &Token) -> bool {
    matches!(token, Token::Placeholder(id) if id == "?") || *token == Token::Question
}

/// What `name as of 'TIME'` stands for, also as `timestamp as of`, `for system_time as of` and `version as of N`.
fn pinned(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Some((name, n_tokens)) = pinned_name(&tokens[at..]) else {
            out.push(tokens[at].clone());
            at += 1;
            continue;
        };
        let span = Span::new(tokens[at].span.start, tokens[at + n_tokens - 1].span.end);
        let word = Word { value: name, quote_style: Some('"'), keyword: Keyword::NoKeyword };
        out.push(TokenWithSpan::new(Token::Word(word), span));
        at += n_tokens;
    }
    out
}

/// The name of a pinned table, if one begins here, and how many tokens it is written with.
fn pinned_name(tokens: &[TokenWithSpan]) -> Option<(String, usize)> {
    let word = |at: usize| match &tokens.get(at)?.token {
        Token::Word(word) => Some(word),
        _ => None,
    };
    let is = |at: usize, expected: &str| {
        word(at).is_some_and(|word| word.value.eq_ignore_ascii_case(expected))
    };
    let table = word(0)?;
    let table = match table.quote_style {
        Some(_) => table.value.clone(),
        None => table.value.to_lowercase(),
    };
    let at = match () {
        () if is(1, "version") || is(1, "timestamp") => 2,
        () if is(1, "for") && is(2, "system_time") => 3,
        () => 1,
    };
    if !(is(at, "as") && is(at + 1, "of")) {
        return None;
    }
    let pin = match &tokens.get(at + 2)?.token {
        Token::SingleQuotedString(time) if !is(1, "version") => time.clone(),
        Token::Number(version, _) if is(1, "version") => format!("v{version}"),
        _ => return None,
    };
    Some((format!("{table}@{pin}"), at + 3))
}

/// The byte at which a place of `text` is.
fn offset(text: &str, place: Location) -> usize {
    let line = text.split_inclusive('\n').take(place.line.saturating_sub(1) as usize);
    let start: usize = line.map(str::len).sum();
    let columns = text[start..].char_indices().nth(place.column.saturating_sub(1) as usize);
    columns.map_or(text.len(), |(at, _)| start + at)
}

/// The most operators between two commas, on one level of parentheses.
fn longest_chain(tokens: &[TokenWithSpan]) -> usize {
    let (mut outer, mut n, mut most) = (Vec::new(), 0_usize, 0);
    for token in tokens {
        match &token.token {
            Token::LParen => outer.push(std::mem::take(&mut n)),
            Token::RParen => n = outer.pop().unwrap_or(0),
            Token::Comma => n = 0,
            Token::Word(word) => {
                use Keyword::{AND, EXCEPT, INTERSECT, JOIN, OR, UNION};
                let joins = [AND, OR, UNION, EXCEPT, INTERSECT, JOIN];
                n += usize::from(joins.contains(&word.keyword));
            }
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Placeholder(_)
            | Token::Period => {}
            _ => n += 1,
        }
        most = most.max(n);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_parted_at_semicolons_outside_of_quotes() {
        for (text, expected) in [
            ("", &[][..]),
            (" ; -- nothing\n;", &[]),
            ("select 1", &["select 1"]),
            ("select ';' ; /* ; */ select 二\n;\n", &["select ';'", "select 二"]),
            ("-- one\nselect\n  1 -- end\n", &["select\n  1"]),
        ] {
            let found = statements(text).unwrap();
            let found: Vec<&str> = found.iter().map(Statement::sql).collect();
            assert_eq!(found, expected, "{text}");
        }
        for (text, expected) in [
            ("select 1", false),
            ("select 1;", true),
            ("select 1; -- done\n", true),
            ("select ';", false),
            ("select 1 /* ;", false),
            ("select 1 -- ;", false),
        ] {
            assert_eq!(is_whole(text), expected, "{text}");
        }
        let error = statements("select 1;\nselect '图").unwrap_err().to_string();
        assert!(error.contains("LINE 2: select '图\n               ^"), "{error}");
    }

    #[test]
    fn parameters_have_names_or_numbers() {
        for (text, parsed, names) in [
            ("select ?, ?", "SELECT $1, $2", &["1", "2"][..]),
            ("select $2, $1, $2", "SELECT $2, $1, $2", &["1", "2"]),
            ("select $b, $a, $b, '?'", "SELECT $b, $a, $b, '?'", &["b", "a"]),
            ("select 1", "SELECT 1", &[]),
        ] {
            let statement = statements(text).unwrap().remove(0);
            assert_eq!(statement.parse().unwrap().to_string(), parsed);
            assert_eq!(statement.parameters(), names);
        }
        for (text, expected) in [
            ("select * from images", false),
            ("select 'a@b' from images", false),
            ("select * from images@v3", true),
            ("select * from runs as of '2026-11-30'", true),
        ] {
            assert_eq!(statements(text).unwrap()[0].reads_the_past(), expected, "{text}");
        }
    }

    #[test]
    fn tables_are_pinned_to_times_and_versions() {
        for (text, expected) in [
            ("select * from images@v3", "SELECT * FROM images@v3"),
            ("select * from Images version as of 3 as i", "SELECT * FROM \"images@v3\" AS i"),
            ("select * from images as of '2026-11-30'", "SELECT * FROM \"images@2026-11-30\""),
            (
                "select * from a for system_time as of 'x' join b timestamp as of 'y' on true",
                "SELECT * FROM \"a@x\" JOIN \"b@y\" ON true",
            ),
            ("select a as of from t as x", "SELECT a AS of FROM t AS x"),
        ] {
            let parsed = statements(text).unwrap()[0].parse().unwrap();
            assert_eq!(parsed.to_string(), expected);
        }
    }

    #[test]
    fn operators_in_a_row_are_counted_level_by_level() {
        let longest = |text: &str| longest_chain(&statements(text).unwrap()[0].tokens);
        assert_eq!(longest("select 1 + 1 + 1"), 2);
        assert_eq!(longest("select f(1 + 1, 2) + f(1, 2) + f(3)"), 2);
        assert_eq!(longest("select a from t where x in (-1, -2, -3) or y = 1 and z"), 3);
        assert_eq!(longest("select 1 union all select 2 union all select 3"), 2);
        let long = |n: usize| format!("select 1{}", " + 1".repeat(n));
        assert!(statements(&long(MOST_OPERATORS)).unwrap()[0].parse().is_ok());
        let error = statements(&long(MOST_OPERATORS + 1)).unwrap()[0].parse().unwrap_err();
        assert!(error.to_string().contains("at most 1000 operators"), "{error}");
    }
}
