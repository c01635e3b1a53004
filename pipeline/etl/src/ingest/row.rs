//! A row of a source, whatever its format.

use std::fmt::Display;

/// Characters of a malformed line that are kept.
const KEPT_CHARS: usize = 500;

/// Bytes of a row that are read; what is longer is no row of a crawl, and must not fill the memory.
pub(super) const MOST_ROW_BYTES: usize = 16 << 20;

/// A row of a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The line on which it starts, from 1, a header included; in Parquet its number, from 1.
    pub(super) line: u64,
    /// The fields, or what is wrong.
    pub(super) fields: Result<Fields, String>,
}

/// The fields of a good row; empty ones are `None`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// The caption, as it stands; may be empty.
    pub(super) text: String,
    /// The URL, as it stands.
    pub(super) url: Option<String>,
    /// The file name.
    pub(super) filename: Option<String>,
}

impl Fields {
    /// The fields of three values, none where the source has no such column or no value.
    pub(super) fn new(text: Option<String>, url: Option<String>, filename: Option<String>) -> Self {
        let given = |value: Option<String>| {
            value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        Self { text: text.unwrap_or_default(), url: given(url), filename: given(filename) }
    }
}

/// What is wrong with a line, and the line itself.
pub(super) fn malformed(wrong: impl Display, line: &[u8]) -> String {
    // No more of it is looked at than can be kept, however long it is.
    let line = &line[..line.len().min(4 * KEPT_CHARS)];
    let text = String::from_utf8_lossy(line);
    format!("{wrong}: {}", text.trim_end().chars().take(KEPT_CHARS).collect::<String>())
}
