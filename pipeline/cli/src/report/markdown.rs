//! A report as Markdown: a data card as Hugging Face shows it, with its metadata in front. In: a [`Report`]. Out: text. Pictures stay
//! out: a card links to nothing.

use std::fmt::Write;

use super::{Body, Report, Rows};

/// The card.
pub(crate) fn markdown(report: &Report) -> String {
    let mut text = front_matter(report);
    let _ = writeln!(text, "# Corpus {}\n", escaped(&report.corpus));
    let _ =
        writeln!(text, "Made by tuwen {} at {} UTC.\n", env!("CARGO_PKG_VERSION"), report.made_at);
    write_sections(&mut text, report);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The tables, and a section each for what is told of them.
pub(crate) fn write_sections(text: &mut String, report: &Report) {
    let tables = report.tables.iter();
    let tables =
        tables.map(|(name, version, n)| vec![name.clone(), version.to_string(), n.to_string()]);
    write_rows(text, &["table", "version", "rows"], &[false, true, true], tables);
    for section in &report.sections {
        let (columns, is_number, rows) = match &section.body {
            Body::Gallery(_) => continue,
            Body::Bars(bars) => {
                let rows = bars.iter().map(|(name, n)| vec![name.clone(), n.to_string()]).collect();
                (vec!["", "number"], vec![false, true], rows)
            }
            Body::Table(Rows { columns, is_number, rows }) => {
                (columns.iter().map(String::as_str).collect(), is_number.clone(), rows.clone())
            }
        };
        let _ = writeln!(text, "## {}\n", section.title);
        if !section.note.is_empty() {
            let _ = writeln!(text, "{}\n", section.note);
        }
        write_rows(text, &columns, &is_number, rows.into_iter());
    }
}

/// What the hub reads of a card.
fn front_matter(report: &Report) -> String {
    format!("---\n{}---\n\n", front_lines(report.examples))
}

/// What the hub reads of any card of captioned pictures.
pub(crate) fn front_lines(examples: u64) -> String {
    let size = match examples {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        10_000_000..100_000_000 => "10M<n<100M",
        100_000_000..1_000_000_000 => "100M<n<1B",
        _ => "n>1B",
    };
    format!("task_categories:\n- image-to-text\nsize_categories:\n- {size}\n")
}

/// A table.
pub(crate) fn write_rows(
    text: &mut String,
    columns: &[&str],
    is_number: &[bool],
    rows: impl Iterator<Item = Vec<String>>,
) {
    let line = |cells: &mut dyn Iterator<Item = String>| {
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    text.push_str(&line(&mut columns.iter().map(|column| escaped(column))));
    let rule = is_number.iter().map(|number| if *number { "---:" } else { "---" }.to_owned());
    text.push_str(&line(&mut { rule }));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(|cell| escaped(cell))));
    }
    text.push('\n');
}

/// What would end a cell, or be taken for HTML or a link.
pub(crate) fn escaped(cell: &str) -> String {
    let mut escaped = String::with_capacity(cell.len());
    for c in cell.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' | '$' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    // A renderer makes links of bare addresses, too; a word joiner cannot be seen.
    for (address, broken) in [("://", ":\u{2060}//"), ("www.", "www\u{2060}."), ("@", "@\u{2060}")]
    {
        escaped = escaped.replace(address, broken);
    }
    escaped
}
