//! Source CSVs. In: the bytes of a file with the columns `text,url,filename`. Out: one row a record, malformed ones included
//! with what is wrong. Never stops at a bad line, and never lets one swallow its neighbours.

use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, Reader, ReaderBuilder};

/// The columns a source CSV must have; others are allowed and left alone.
pub const COLUMNS: [&str; 3] = ["text", "url", "filename"];

/// Characters of a malformed line that are kept.
const KEPT_CHARS: usize = 500;

/// A record of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Line on which it starts, from 1; the header is line 1.
    pub line: u64,
    /// The fields, or what is wrong.
    pub fields: Result<Fields, String>,
}

/// The fields of a good record; empty ones are `None`.
#[derive(Debug, PartialEq, Eq)]
pub struct Fields {
    /// The caption, as it stands; may be empty.
    pub text: String,
    /// The URL.
    pub url: Option<String>,
    /// The file name.
    pub filename: Option<String>,
}

/// The records of one file, in order.
pub struct CsvRows<'a> {
    bytes: &'a [u8],
    reader: Reader<&'a [u8]>,
    /// Where `reader` began: offset and line.
    base: (usize, u64),
    n_fields: usize,
    places: [usize; 3],
}

impl<'a> CsvRows<'a> {
    /// Reads the header of the file called `path`, whose content is `bytes`.
    ///
    /// # Errors
    /// The header lacks one of [`COLUMNS`].
    pub fn new(path: &Path, bytes: &'a [u8]) -> Result<Self> {
        let start = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let mut reader = reader(&bytes[start..]);
        let mut header = ByteRecord::new();
        reader.read_byte_record(&mut header).with_context(|| path.display().to_string())?;
        let names: Vec<String> =
            header.iter().map(|name| String::from_utf8_lossy(name).trim().to_lowercase()).collect();
        let mut places = [0; 3];
        for (place, column) in places.iter_mut().zip(COLUMNS) {
            match names.iter().position(|name| name == column) {
                Some(found) => *place = found,
                None => bail!(
                    "{}: expected the columns `{}`, found `{}`",
                    path.display(),
                    COLUMNS.join(","),
                    names.join(",").chars().take(200).collect::<String>()
                ),
            }
        }
        Ok(Self { bytes, reader, base: (start, 1), n_fields: names.len(), places })
    }

    /// Goes on at `offset`, the start of line `line`.
    fn restart(&mut self, offset: usize, line: u64) {
        self.reader = reader(&self.bytes[offset..]);
        self.base = (offset, line);
    }

    fn offset(&self) -> usize {
        self.base.0 + self.reader.position().byte() as usize
    }

    fn fields(&self, record: &ByteRecord) -> Result<Fields, String> {
        if record.len() != self.n_fields {
            return Err(format!("expected {} fields, found {}", self.n_fields, record.len()));
        }
        let field = |place: usize| {
            let column = COLUMNS[place];
            std::str::from_utf8(&record[self.places[place]])
                .map_err(|error| format!("`{column}` is not UTF-8: {error}"))
        };
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Fields { text: field(0)?.to_owned(), url: given(field(1)?), filename: given(field(2)?) })
    }
}

impl Iterator for CsvRows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let mut record = ByteRecord::new();
        // Reading from a slice cannot fail, and a flexible reader has no other errors.
        if !self.reader.read_byte_record(&mut record).unwrap_or(false) {
            return None;
        }
        // The reader's own place of a record may lie before the line breaks it skipped.
        let told = record.position().map_or(0, csv::Position::byte) as usize + self.base.0;
        let blank = self.bytes[told..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let skipped = self.bytes[told..told + blank].iter().filter(|b| **b == b'\n').count() as u64;
        let start = told + blank;
        let line = record.position().map_or(1, csv::Position::line) - 1 + self.base.1 + skipped;

        let raw = &self.bytes[start..self.offset().max(start)];
        let fields = match is_quoted_well(raw) {
            true => self.fields(&record),
            false => Err("a quote is not closed on its line".to_owned()),
        };
        let fields = fields.map_err(|wrong| {
            let first = self.bytes[start..].split(|b| *b == b'\n').next().unwrap_or_default();
            // A stray quote runs on to the next quote, lines further down: only its own line is bad.
            let next_line = start + first.len() + 1;
            if next_line < self.offset() && next_line < self.bytes.len() {
                self.restart(next_line, line + 1);
            }
            let text = String::from_utf8_lossy(first);
            format!("{wrong}: {}", text.trim_end().chars().take(KEPT_CHARS).collect::<String>())
        });
        Some(Row { line, fields })
    }
}

/// Whether a record over several lines has its quotes where RFC 4180 wants them: opened at a field's start and closed at its
/// end. A stray quote that runs into the next quoted field fails this, however many fields come of it. Records of one line may
/// have quotes anywhere, as Python's reader allows.
fn is_quoted_well(raw: &[u8]) -> bool {
    let raw = raw.trim_ascii_end();
    if !raw.contains(&b'\n') {
        return true;
    }
    let mut at = 0;
    while at < raw.len() {
        if raw[at] == b'"' {
            let Some(end) = end_of_quoted(raw, at + 1) else { return false };
            at = end;
        } else {
            let end =
                raw[at..].iter().position(|b| *b == b',').map_or(raw.len(), |length| at + length);
            if raw[at..end].iter().any(|b| matches!(b, b'"' | b'\n')) {
                return false;
            }
            at = end;
        }
        match raw.get(at) {
            None | Some(b',') => at += 1,
            Some(_) => return false,
        }
    }
    true
}

/// The place after the quote that closes a quoted field whose content begins at `at`; two quotes stand for one.
fn end_of_quoted(raw: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += raw[at..].iter().position(|b| *b == b'"')? + 1;
        if raw.get(at) != Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
}

fn reader(bytes: &[u8]) -> Reader<&[u8]> {
    ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(csv: &[u8], expected: &[(u64, &str)]) {
        let rows = CsvRows::new(Path::new("a.csv"), csv).unwrap();
        let shown: Vec<(u64, String)> = rows
            .map(|row| match row.fields {
                Ok(f) => (
                    row.line,
                    format!(
                        "{}|{}|{}",
                        f.text,
                        f.url.unwrap_or_default(),
                        f.filename.unwrap_or_default()
                    ),
                ),
                Err(wrong) => (row.line, format!("! {wrong}")),
            })
            .collect();
        let shown: Vec<(u64, &str)> =
            shown.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn reads_what_crawls_bring() {
        check(b"text,url,filename\na,http://x/1,1.jpg\n", &[(2, "a|http://x/1|1.jpg")]);
        check(b"\xef\xbb\xbftext,url,filename\r\n\"a,b\",u,f\r\n", &[(2, "a,b|u|f")]);
        check("text,url,filename\n\"他说\"\"好\"\"\",,f\n".as_bytes(), &[(2, "他说\"好\"||f")]);
        check(b"url,text,filename\nu,t,\n\n\nv,s,g", &[(2, "t|u|"), (5, "s|v|g")]);
        check(
            "text,url,filename\n\"a\n\"\"b\"\"\",\"u\r\n\",f\nc,u,f".as_bytes(),
            &[(2, "a\n\"b\"|u|f"), (5, "c|u|f")],
        );
        check(
            b"text,url,filename,x\n\"two\nlines\",u,f,1\na,u,f,1\n",
            &[(2, "two\nlines|u|f"), (4, "a|u|f")],
        );
        check(b"text,url,filename\n", &[]);
    }

    #[test]
    fn a_bad_line_is_a_row_and_its_neighbours_live() {
        check(
            b"text,url,filename\na,u\nb,u,f\nc,u,f,x\n",
            &[
                (2, "! expected 3 fields, found 2: a,u"),
                (3, "b|u|f"),
                (4, "! expected 3 fields, found 4: c,u,f,x"),
            ],
        );
        check(
            b"text,url,filename\n\"stray,u,f\nb,u,f\nc,\"u,1\",f\n",
            &[
                (2, "! a quote is not closed on its line: \"stray,u,f"),
                (3, "b|u|f"),
                (4, "c|u,1|f"),
            ],
        );
        check(
            b"text,url,filename\n\"never closed,u,f\nb,u,f\n",
            &[(2, "! a quote is not closed on its line: \"never closed,u,f"), (3, "b|u|f")],
        );
        check(
            b"text,url,filename\n\"stray,u,f\nb,u,f\nc,\"u\",f\nd,\"u,2\",f\n",
            &[
                (2, "! a quote is not closed on its line: \"stray,u,f"),
                (3, "b|u|f"),
                (4, "c|u|f"),
                (5, "d|u,2|f"),
            ],
        );
        check(
            b"text,url,filename\n\xff\xfe,u,f\nb,u,f\n",
            &[
                (
                    2,
                    "! `text` is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0: \u{fffd}\u{fffd},u,f",
                ),
                (3, "b|u|f"),
            ],
        );
    }

    #[test]
    fn a_header_without_the_columns_is_refused() {
        let error = CsvRows::new(Path::new("a.csv"), b"caption,url\n").err().unwrap().to_string();
        assert_eq!(error, "a.csv: expected the columns `text,url,filename`, found `caption,url`");
    }
}
