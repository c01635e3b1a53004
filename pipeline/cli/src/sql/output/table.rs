//! Boxes for people. In: batches. Out: a table whose columns are as wide as the first rows need, and no wider than the terminal. Later
//! rows are written as they come; a wider cell among them moves its row to the right.

use std::borrow::Cow;
use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::sql::output::RowWriter;
use crate::sql::output::cells::{Bytes, for_each_row};
use crate::sql::output::visible::visible;

/// Rows that decide how wide a column is.
const FIRST_ROWS: usize = 1000;

/// Columns of the terminal that a cell has at least.
const LEAST_WIDTH: usize = 8;

/// How NULL is written.
const NULL: &str = "NULL";

type Row = Vec<Option<String>>;

/// A table.
pub(super) struct Table<'a> {
    out: &'a mut (dyn Write + Send),
    names: Row,
    max_width: Option<usize>,
    first: Vec<Row>,
    /// Known when the first rows were seen.
    widths: Option<Vec<usize>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        schema: &SchemaRef,
        max_width: Option<usize>,
        out: &'a mut (dyn Write + Send),
    ) -> Self {
        let names = schema.fields().iter().map(|field| Some(visible(field.name()).into_owned()));
        let names = names.collect();
        Self { out, names, max_width, first: Vec::new(), widths: None }
    }

    /// Writes the names and the first rows.
    fn begin(&mut self) -> Result<()> {
        let first = std::mem::take(&mut self.first);
        let mut widths = vec![0; self.names.len()];
        for row in first.iter().chain([&self.names]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                let lines = cell.as_deref().unwrap_or(NULL).lines();
                *width = lines.map(UnicodeWidthStr::width).chain([*width]).max().unwrap_or(0);
            }
        }
        if let Some(max_width) = self.max_width {
            narrow(&mut widths, max_width);
        }
        write_line(self.out, &widths)?;
        write_row(self.out, &widths, &self.names, self.max_width.is_some())?;
        write_line(self.out, &widths)?;
        for row in &first {
            write_row(self.out, &widths, row, self.max_width.is_some())?;
        }
        self.widths = Some(widths);
        Ok(())
    }
}

impl RowWriter for Table<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for_each_row(batch, Bytes::Number, |cells| {
            let cells = cells.iter().map(|cell| cell.as_deref().map(visible));
            if let Some(widths) = &self.widths {
                return write_row(
                    self.out,
                    widths,
                    &cells.collect::<Vec<_>>(),
                    self.max_width.is_some(),
                );
            }
            self.first.push(cells.map(|cell| cell.map(Cow::into_owned)).collect());
            if self.first.len() == FIRST_ROWS { self.begin() } else { Ok(()) }
        })
    }

    fn finish(&mut self) -> Result<()> {
        if self.widths.is_none() {
            self.begin()?;
        }
        if let Some(widths) = &self.widths {
            write_line(self.out, widths)?;
        }
        Ok(())
    }
}

/// Makes the widest columns narrower until all of them fit, with their borders.
fn narrow(widths: &mut [usize], max_width: usize) {
    let borders = 3 * widths.len() + 1;
    while widths.iter().sum::<usize>() + borders > max_width {
        let Some(widest) = widths.iter().copied().max().filter(|widest| *widest > LEAST_WIDTH)
        else {
            return;
        };
        widths.iter_mut().filter(|width| **width == widest).for_each(|width| *width -= 1);
    }
}

fn write_line(out: &mut dyn Write, widths: &[usize]) -> Result<()> {
    for width in widths {
        write!(out, "+{:-<1$}", "", width + 2)?;
    }
    writeln!(out, "+")?;
    Ok(())
}

/// A row, as high as the cell with the most lines.
fn write_row(
    out: &mut dyn Write,
    widths: &[usize],
    cells: &[Option<impl AsRef<str>>],
    is_cut: bool,
) -> Result<()> {
    let lines: Vec<Vec<&str>> = cells
        .iter()
        .map(|cell| cell.as_ref().map_or(NULL, AsRef::as_ref).lines().collect())
        .collect();
    let height = lines.iter().map(Vec::len).max().unwrap_or(1).max(1);
    for line in 0..height {
        for (cell, width) in lines.iter().zip(widths) {
            let text = cell.get(line).copied().unwrap_or_default();
            let text = if is_cut { cut(text, *width) } else { text.into() };
            let blanks = width.saturating_sub(text.width());
            write!(out, "| {text}{:blanks$} ", "")?;
        }
        writeln!(out, "|")?;
    }
    Ok(())
}

/// `text`, with an ellipsis where it is wider than `width`.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return text.into();
    }
    let mut kept = 0;
    let fits = text.chars().take_while(|c| {
        kept += c.width().unwrap_or(0);
        kept < width
    });
    (fits.collect::<String>() + "…").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_cut_by_the_columns_that_they_take() {
        for (text, width, expected) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("红圆红", 5, "红圆…"), ("红圆红", 6, "红圆红")]
        {
            assert_eq!(cut(text, width), expected);
        }
    }

    #[test]
    fn the_widest_columns_give_way() {
        let mut widths = [3, 50, 90];
        narrow(&mut widths, 80);
        assert_eq!(widths, [3, 33, 33]);
        let mut widths = [100; 20];
        narrow(&mut widths, 80);
        assert_eq!(widths, [LEAST_WIDTH; 20]);
    }
}
