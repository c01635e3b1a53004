//! Settings for people. In: settings in force. Out: a table for a terminal; of all settings a
//! Markdown table for the docs. Never prints.

use std::fmt::Write;

use anyhow::Result;
use toml::Value;

use crate::key::{Key, Section, sections};
use crate::{Allowed, Resolved, Settings};

/// Columns of a terminal that the table keeps to.
const WIDTH: usize = 100;

/// Longer values and origins push the columns after them aside, in their own line only.
const WIDEST_CELL: usize = 16;

/// Fewer columns than this are too few for a help text, which then begins on a line of its own.
const NARROWEST_HELP: usize = 24;

/// One setting in force.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The setting.
    pub key: &'static Key,
    /// Its value.
    pub value: Value,
    /// Where the value comes from, as in [`Resolved::origins`].
    pub origin: &'a str,
}

impl Resolved {
    /// All settings, section by section.
    ///
    /// # Errors
    /// As [`Key::value`].
    pub fn rows(&self) -> Result<Vec<Row<'_>>> {
        let rows = sections().map(|section| self.rows_of(section));
        Ok(rows.collect::<Result<Vec<_>>>()?.concat())
    }

    /// A table for a terminal of 100 columns: of each setting name, value, origin and the first
    /// sentence of its help.
    ///
    /// # Errors
    /// As [`Key::value`].
    pub fn table(&self) -> Result<String> {
        let mut lines = Vec::new();
        for section in sections() {
            if !section.name.is_empty() {
                lines.extend([String::new(), format!("[{}] {}", section.name, section.help)]);
            }
            let rows = self.rows_of(section)?;
            let cells: Vec<[String; 3]> = rows.iter().map(cells).collect();
            let widths = [0, 1, 2].map(|column| {
                let widths = cells.iter().map(|row| width(&row[column]));
                let fitting = widths.filter(|&width| column == 0 || width <= WIDEST_CELL);
                fitting.max().unwrap_or(0)
            });
            for (row, cells) in rows.iter().zip(&cells) {
                lines.extend(table_lines(cells, widths, &short_help(row.key)));
            }
        }
        Ok(lines.join("\n"))
    }

    fn rows_of(&self, section: Section) -> Result<Vec<Row<'_>>> {
        let row = |key: &'static Key| {
            let origin = self.origins.get(key.name).map_or("default", String::as_str);
            Ok(Row { key, value: key.value(&self.settings)?, origin })
        };
        section.keys.iter().map(row).collect()
    }
}

/// Name, value and origin; that of a flag without the key, which stands before it.
fn cells(row: &Row<'_>) -> [String; 3] {
    let origin = if row.origin.starts_with("flag for ") { "flag" } else { row.origin };
    [row.key.short_name().to_owned(), row.value.to_string(), origin.to_owned()]
}

/// The first sentence of the help, and the words of a closed list.
fn short_help(key: &Key) -> String {
    match key.allowed {
        Allowed::OneOf(words) => format!("{} ({})", key.summary(), words.join(", ")),
        _ => key.summary().to_owned(),
    }
}

/// A setting in one line, or more where its help is too long for it.
fn table_lines(cells: &[String; 3], widths: [usize; 3], help: &str) -> Vec<String> {
    let mut line = String::new();
    for (cell, column_width) in cells.iter().zip(widths) {
        line += cell;
        line += &" ".repeat(column_width.saturating_sub(width(cell)) + 2);
    }
    let help_column = widths.iter().map(|width| width + 2).sum::<usize>();
    let mut begin = width(&line);
    let mut lines = Vec::new();
    if begin + NARROWEST_HELP > WIDTH {
        lines.push(line.trim_end().to_owned());
        begin = help_column;
        line = " ".repeat(begin);
    }
    let indent = " ".repeat(begin);
    for word in help.split(' ') {
        if width(&line) + width(word) > WIDTH && line != indent {
            lines.push(line.trim_end().to_owned());
            line.clone_from(&indent);
        }
        line += word;
        line.push(' ');
    }
    lines.push(line.trim_end().to_owned());
    lines
}

/// Columns in a terminal; East Asian letters have two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if c >= '\u{1100}' { 2 } else { 1 }).sum()
}

/// All settings as Markdown, a table a section: key, default, what is allowed, what it is.
pub fn reference_markdown() -> String {
    let defaults = Settings::default();
    let mut text = String::from("# Settings\n\nWritten by `tuwen config --reference`.\n");
    for section in sections() {
        let heading = if section.name.is_empty() { "All commands" } else { section.name };
        let _ = write!(text, "\n## {heading}\n\n{}\n\n", section.help);
        text += "| key | default | allowed | what it is |\n|---|---|---|---|\n";
        for key in section.keys {
            let default = key.value(&defaults).expect("a test sees every default as TOML");
            let default = markdown_cell(&default.to_string());
            let (allowed, help) =
                (markdown_cell(&key.allowed.to_string()), markdown_cell(key.help));
            let _ = writeln!(text, "| `{}` | `{default}` | {allowed} | {help} |", key.name);
        }
    }
    text
}

/// A text that does not end its cell.
fn markdown_cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}
