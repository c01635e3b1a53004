//! CSV and TSV. In: batches. Out: a line a row, the names of the columns first. NULL is told from an empty text in both.

use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::sql::output::RowWriter;
use crate::sql::output::cells::{Bytes, for_each_row};

/// A format of lines.
pub(super) trait Dialect {
    /// What parts the cells of a line.
    const BETWEEN: u8;

    /// Appends a cell, which may be NULL.
    fn push(cell: Option<&str>, line: &mut Vec<u8>);
}

/// RFC 4180; NULL is nothing and an empty text a pair of quotes, as PostgreSQL reads them, and DuckDB with `allow_quoted_nulls = false`.
pub(super) struct Csv;

impl Dialect for Csv {
    const BETWEEN: u8 = b',';

    fn push(cell: Option<&str>, line: &mut Vec<u8>) {
        let Some(text) = cell else { return };
        let is_special = |byte: &u8| matches!(byte, b'"' | b',' | b'\n' | b'\r');
        if !text.is_empty() && !text.as_bytes().iter().any(is_special) {
            line.extend_from_slice(text.as_bytes());
            return;
        }
        line.push(b'"');
        line.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        line.push(b'"');
    }
}

/// As PostgreSQL's COPY writes text.
pub(super) struct Tsv;

impl Dialect for Tsv {
    const BETWEEN: u8 = b'\t';

    fn push(cell: Option<&str>, line: &mut Vec<u8>) {
        for &byte in cell.unwrap_or("\\N").as_bytes() {
            match byte {
                b'\\' if cell.is_some() => line.extend_from_slice(b"\\\\"),
                b'\t' => line.extend_from_slice(b"\\t"),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                byte => line.push(byte),
            }
        }
    }
}

/// Writes lines of the dialect `D`.
pub(super) struct Lines<'a, D> {
    out: &'a mut (dyn Write + Send),
    line: Vec<u8>,
    dialect: std::marker::PhantomData<D>,
}

impl<'a, D: Dialect> Lines<'a, D> {
    pub(super) fn new(schema: &SchemaRef, out: &'a mut (dyn Write + Send)) -> Result<Self> {
        let mut lines = Self { out, line: Vec::new(), dialect: std::marker::PhantomData };
        lines.write_line(schema.fields().iter().map(|field| Some(field.name().as_str())))?;
        Ok(lines)
    }

    fn write_line<'c>(&mut self, cells: impl Iterator<Item = Option<&'c str>>) -> Result<()> {
        self.line.clear();
        for (i, cell) in cells.enumerate() {
            if i > 0 {
                self.line.push(D::BETWEEN);
            }
            D::push(cell, &mut self.line);
        }
        self.line.push(b'\n');
        self.out.write_all(&self.line)?;
        Ok(())
    }
}

impl<D: Dialect> RowWriter for Lines<'_, D> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for_each_row(batch, Bytes::Hex, |cells| {
            self.write_line(cells.iter().map(|cell| cell.as_deref()))
        })
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_no_empty_text() {
        fn pushed<D: Dialect>(cell: Option<&str>) -> String {
            let mut line = Vec::new();
            D::push(cell, &mut line);
            String::from_utf8(line).unwrap()
        }
        for (cell, csv, tsv) in [
            (None, "", "\\N"),
            (Some(""), "\"\"", ""),
            (Some("图"), "图", "图"),
            (Some("\\N"), "\\N", "\\\\N"),
            (Some("a,\"b\""), "\"a,\"\"b\"\"\"", "a,\"b\""),
            (Some("a\tb\nc"), "\"a\tb\nc\"", "a\\tb\\nc"),
        ] {
            assert_eq!(pushed::<Csv>(cell), csv);
            assert_eq!(pushed::<Tsv>(cell), tsv);
        }
    }
}
