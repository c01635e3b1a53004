//! Rows of a CSV or TSV. In: the bytes of a file in UTF-8. Out: one row a record, malformed ones included with what is wrong. Never
//! stops at a bad line, and never lets one swallow its neighbours.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::ingest::columns::{Columns, Mismatch, Places, is_url};
use crate::ingest::row::{Fields, MOST_ROW_BYTES, Row, malformed};

/// What the columns are called in messages, which the ids of malformed rows are made from.
const COLUMNS: [&str; 3] = ["text", "url", "filename"];

const UNCLOSED: &str = "a quote is not closed on its line";

/// The records of one file, in order.
pub(super) struct CsvRows<B> {
    bytes: B,
    records: Records,
    /// The encoding that the file was in.
    encoding: &'static str,
    n_fields: usize,
    places: Places,
}

impl<B: AsRef<[u8]>> CsvRows<B> {
    /// Reads the header of a file whose content is `bytes`, with fields divided by `delimiter`; one whose columns are given by
    /// numbers has none.
    ///
    /// # Errors
    /// The columns are not there.
    pub(super) fn new(
        bytes: B,
        delimiter: u8,
        encoding: &'static str,
        columns: &Columns,
    ) -> Result<Self, Mismatch> {
        let mut records = Records::new(bytes.as_ref(), delimiter);
        let begin = records.at;
        let first = records.shown(bytes.as_ref());
        let places = match columns.numbered() {
            Some(places) => {
                records.restart(begin, 1);
                Some(places).filter(|places| places.last() < first.len())
            }
            None => columns.find(&first),
        };
        let Some(places) = places else {
            let sample = records.shown(bytes.as_ref());
            return Err(Mismatch { names: first, sample });
        };
        Ok(Self { bytes, records, encoding, n_fields: first.len(), places })
    }

    fn fields(&self) -> Result<Fields, String> {
        let n_fields = self.records.ends.len();
        let Places { text, url, filename } = self.places;
        if n_fields != self.n_fields && !self.lacks_only_filename() {
            return Err(format!("expected {} fields, found {n_fields}", self.n_fields));
        }
        let field = |place: Option<usize>, column: usize| {
            let Some(place) = place else { return Ok(None) };
            let field = std::str::from_utf8(self.records.field(place));
            field.map(|field| Some(field.to_owned())).map_err(|error| match self.encoding {
                "UTF-8" => format!("`{}` is not UTF-8: {error}", COLUMNS[column]),
                encoding => format!("`{}` is not {encoding}", COLUMNS[column]),
            })
        };
        let filename = filename.filter(|place| *place < n_fields);
        Ok(Fields::new(field(Some(text), 0)?, field(url, 1)?, field(filename, 2)?))
    }

    /// Whether the record at hand ends before the file name, which it need not have, and has a URL where one belongs.
    fn lacks_only_filename(&self) -> bool {
        let Places { text, url: Some(url), filename: Some(filename) } = self.places else {
            return false;
        };
        let is_short = filename == self.records.ends.len() && text.max(url) < filename;
        is_short && std::str::from_utf8(self.records.field(url)).is_ok_and(is_url)
    }
}

impl<B: AsRef<[u8]>> Iterator for CsvRows<B> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let read = self.records.read(self.bytes.as_ref())?;
        let line = self.records.record_line;
        let fields = read.map_err(str::to_owned).and_then(|()| self.fields());
        let fields = fields.map_err(|wrong| {
            let first = self.records.only_first_line(self.bytes.as_ref());
            malformed(wrong, first)
        });
        Some(Row { line, fields })
    }
}

/// Takes records apart.
struct Records {
    reader: Reader,
    delimiter: u8,
    /// Where the next record is looked for, and on which line that is.
    at: usize,
    line: u64,
    /// Where the record at hand begins.
    record_at: usize,
    record_line: u64,
    /// Its fields, one after the other, and where each ends.
    fields: Vec<u8>,
    ends: Vec<usize>,
}

impl Records {
    fn new(bytes: &[u8], delimiter: u8) -> Self {
        let at = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Self {
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            delimiter,
            at,
            line: 1,
            record_at: at,
            record_line: 1,
            fields: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Goes on at `at`, the start of line `line`.
    fn restart(&mut self, at: usize, line: u64) {
        (self.at, self.line) = (at, line);
    }

    fn field(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.fields[start..self.ends[i]]
    }

    /// The fields of the next record for people; none where there is none.
    fn shown(&mut self, bytes: &[u8]) -> Vec<String> {
        match self.read(bytes) {
            None => Vec::new(),
            Some(Err(_)) => vec![malformed("", self.only_first_line(bytes))],
            Some(Ok(())) => (0..self.ends.len())
                .map(|i| String::from_utf8_lossy(self.field(i)).trim().to_owned())
                .collect(),
        }
    }

    /// Takes the next record apart; what is wrong with its quotes, or its length. None after the last.
    fn read(&mut self, bytes: &[u8]) -> Option<Result<(), &'static str>> {
        let blank = bytes[self.at..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        self.pass(bytes, self.at + blank);
        (self.record_at, self.record_line) = (self.at, self.line);
        let rest = &bytes[self.at..];
        if rest.is_empty() {
            return None;
        }
        let Some(length) = record_length(rest, self.delimiter) else {
            let is_long = first_line(rest).len() > MOST_ROW_BYTES;
            return Some(Err(if is_long { "longer than 16 MiB" } else { UNCLOSED }));
        };
        let raw = &rest[..length];
        if self.delimiter == b'\t' && !is_quoted_as_tsv(raw) {
            self.take_literally(first_line(raw));
            self.pass(bytes, self.record_at + first_line(raw).len());
            return Some(Ok(()));
        }
        self.take_apart(raw);
        self.pass(bytes, self.record_at + length);
        Some(if is_quoted_well(raw, self.delimiter) { Ok(()) } else { Err(UNCLOSED) })
    }

    /// Moves to `to`, and counts the lines that end on the way.
    fn pass(&mut self, bytes: &[u8], to: usize) {
        let passed = &bytes[self.at..to];
        let n_ends = passed.iter().enumerate().filter(|(i, b)| match b {
            b'\n' => true,
            // Old Macs end lines so.
            b'\r' => bytes.get(self.at + i + 1) != Some(&b'\n'),
            _ => false,
        });
        self.line += n_ends.count() as u64;
        self.at = to;
    }

    /// Of the record at hand only its first line, which is bad; what follows is read anew. A stray quote runs on to the next quote,
    /// lines further down.
    fn only_first_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let first = first_line(&bytes[self.record_at..]);
        let next_line = (self.record_at + first.len() + 1).min(bytes.len());
        // A record that is shorter than its line ends with a carriage return.
        if next_line < self.at || self.at == self.record_at {
            self.restart(next_line, self.record_line + 1);
        }
        first
    }

    /// The fields of a record as RFC 4180 has them, and quotes anywhere, as Python's reader allows.
    fn take_apart(&mut self, raw: &[u8]) {
        let most_fields = 2 + raw.iter().filter(|b| **b == self.delimiter).count();
        self.fields.resize(raw.len(), 0);
        self.ends.resize(most_fields, 0);
        self.reader.reset();
        let (result, _, n_bytes, n_ends) =
            self.reader.read_record(raw, &mut self.fields, &mut self.ends);
        let mut n_fields = n_ends;
        if result == ReadRecordResult::InputEmpty {
            // The last record may end with the file.
            let (_, _, _, n_last) =
                self.reader.read_record(&[], &mut self.fields[n_bytes..], &mut self.ends[n_ends..]);
            n_fields += n_last;
        }
        self.ends.truncate(n_fields);
    }

    /// The fields of a line in which quotes are letters.
    fn take_literally(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (self.fields, self.ends) = (Vec::with_capacity(line.len()), Vec::new());
        for field in line.split(|b| *b == self.delimiter) {
            self.fields.extend_from_slice(field);
            self.ends.push(self.fields.len());
        }
    }
}

/// Up to the first line feed.
fn first_line(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == b'\n').next().unwrap_or_default()
}

/// Bytes of the record that `bytes` begin with, the end of its line included: a field that begins with a quote goes on to the next
/// single one. None if it is longer than a row may be.
fn record_length(bytes: &[u8], delimiter: u8) -> Option<usize> {
    let (mut at, mut is_start) = (0, true);
    while let Some(byte) = bytes.get(at) {
        match byte {
            _ if at > MOST_ROW_BYTES => return None,
            b'"' if is_start => {
                let within = &bytes[..bytes.len().min(at + MOST_ROW_BYTES)];
                match end_of_quoted(within, at + 1) {
                    Some(end) => at = end,
                    None if within.len() < bytes.len() => return None,
                    None => return Some(bytes.len()),
                }
                is_start = false;
            }
            b'\r' | b'\n' => return Some(at + 1),
            byte => {
                is_start = *byte == delimiter;
                at += 1;
            }
        }
    }
    Some(at)
}

/// Whether a record over several lines has its quotes where RFC 4180 wants them: opened at a field's start and closed at its
/// end. A stray quote that runs into the next quoted field fails this, however many fields come of it. Records of one line may
/// have quotes anywhere.
fn is_quoted_well(raw: &[u8], delimiter: u8) -> bool {
    let raw = raw.trim_ascii_end();
    !raw.contains(&b'\n') || has_quotes_in_place(raw, delimiter)
}

/// The same of a TSV, where most writers know no quotes: they stand for themselves but where all are in place; a field over several
/// lines has no tab then.
fn is_quoted_as_tsv(raw: &[u8]) -> bool {
    let end = raw.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let raw = &raw[..end];
    if !raw.contains(&b'"') {
        return true;
    }
    let is_over_lines_with_tab = raw.contains(&b'\n')
        && raw.split(|b| *b == b'"').skip(1).step_by(2).any(|quoted| quoted.contains(&b'\t'));
    has_quotes_in_place(raw, b'\t') && !is_over_lines_with_tab
}

fn has_quotes_in_place(raw: &[u8], delimiter: u8) -> bool {
    let mut at = 0;
    while at < raw.len() {
        if raw[at] == b'"' {
            let Some(end) = end_of_quoted(raw, at + 1) else { return false };
            at = end;
        } else {
            let end = raw[at..]
                .iter()
                .position(|b| *b == delimiter)
                .map_or(raw.len(), |length| at + length);
            if raw[at..end].iter().any(|b| matches!(b, b'"' | b'\n')) {
                return false;
            }
            at = end;
        }
        match raw.get(at) {
            None => return true,
            Some(byte) if *byte == delimiter => at += 1,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(
        bytes: &[u8],
        delimiter: u8,
        encoding: &'static str,
        columns: &str,
    ) -> Vec<(u64, String)> {
        let columns = Columns::parse(columns).unwrap();
        let rows = CsvRows::new(bytes, delimiter, encoding, &columns).unwrap();
        rows.map(|row| match row.fields {
            Ok(f) => {
                let [url, filename] = [f.url, f.filename].map(Option::unwrap_or_default);
                (row.line, format!("{}|{url}|{filename}", f.text))
            }
            Err(wrong) => (row.line, format!("! {wrong}")),
        })
        .collect()
    }

    fn compare(shown: &[(u64, String)], expected: &[(u64, &str)]) {
        let shown: Vec<(u64, &str)> =
            shown.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(shown, expected);
    }

    fn check(csv: &[u8], expected: &[(u64, &str)]) {
        compare(&shown(csv, b',', "UTF-8", ""), expected);
    }

    fn check_tsv(tsv: &[u8], expected: &[(u64, &str)]) {
        compare(&shown(tsv, b'\t', "UTF-8", "url=1,text=2"), expected);
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
        check(b"TEXT,URL\na,u\n", &[(2, "a|u|")]);
        check(b"text,url\ra,u\rb,v", &[(2, "a|u|"), (3, "b|v|")]);
        // A quote within a field is a letter, and after a closed one too.
        check(
            b"text,url\na\"b\",u\n\"a\"b\"c,u\n\"a\" ,u",
            &[(2, "a\"b\"|u|"), (3, "ab\"c|u|"), (4, "a |u|")],
        );
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
            b"text,url,filename\nb,u,f\n\"never closed,u,f\n",
            &[(2, "b|u|f"), (3, "! expected 3 fields, found 1: \"never closed,u,f")],
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
        compare(
            &shown(b"text,url\n\xff,u\nb,u\n", b',', "gb18030", ""),
            &[(2, "! `text` is not gb18030: \u{fffd},u"), (3, "b|u|")],
        );
    }

    #[test]
    fn a_row_may_end_before_its_file_name() {
        check(
            b"text,url,filename\na,http://u\nb,//u,\nc,http://u,f\n",
            &[(2, "a|http://u|"), (3, "b|//u|"), (4, "c|http://u|f")],
        );
        check(b"url,text,filename,width\nhttp://u,a\n", &[(2, "a|http://u|")]);
        check(b"url,text,width,filename\nhttp://u,a,9\n", &[(2, "a|http://u|")]);
        for (csv, expected) in [
            // What is missing may be something else.
            ("text,url,filename\na,1.jpg\n", "! expected 3 fields, found 2: a,1.jpg"),
            ("url,text,width,filename\nhttp://u,a\n", "! expected 4 fields, found 2: http://u,a"),
            (
                "text,url,filename,width\na,http://u,f\n",
                "! expected 4 fields, found 3: a,http://u,f",
            ),
            ("filename,text,url\nf,a\n", "! expected 3 fields, found 2: f,a"),
            ("text,filename\na\n", "! expected 2 fields, found 1: a"),
        ] {
            check(csv.as_bytes(), &[(2, expected)]);
        }
    }

    #[test]
    fn a_row_without_end_takes_neither_time_nor_memory() {
        let line = [vec![b'a'; 1000], b",u\n".to_vec()].concat();
        let n_lines = MOST_ROW_BYTES / line.len() + 9;
        let csv = [b"text,url\n\"stray,u\n".to_vec(), line.repeat(n_lines)].concat();
        let rows = shown(&csv, b',', "UTF-8", "");
        assert_eq!(rows.len(), 1 + n_lines);
        assert_eq!(rows[0].1, "! a quote is not closed on its line: \"stray,u");
        let long = [b"text,url\n".to_vec(), vec![b'x'; MOST_ROW_BYTES + 9], b",u\nb,u\n".to_vec()]
            .concat();
        let rows = shown(&long, b',', "UTF-8", "");
        assert!(rows[0].1.starts_with("! longer than 16 MiB: xxx") && rows[0].1.len() < 600);
        assert_eq!(rows[1..], [(3, "b|u|".to_owned())]);
    }

    #[test]
    fn quotes_in_a_tsv_are_letters_unless_all_are_in_place() {
        check_tsv(b"u\ta cat\nv\ta dog\n", &[(1, "a cat|u|"), (2, "a dog|v|")]);
        check_tsv(
            b"u\t\"Best\" cat\nv\tthe \"dog\"\nw\t\"a \"\"cow\"\"\"\n",
            &[(1, "\"Best\" cat|u|"), (2, "the \"dog\"|v|"), (3, "a \"cow\"|w|")],
        );
        check_tsv(
            b"u\t\"stray\r\nv\tb\"\r\nw\tc\r\n",
            &[(1, "\"stray|u|"), (2, "b\"|v|"), (3, "c|w|")],
        );
        check_tsv(b"u\t\"two\nlines\"\nv\tb\n", &[(1, "two\nlines|u|"), (3, "b|v|")]);
        check_tsv(b"u\ta\tb\nv\tc\n", &[(1, "a|u|"), (2, "! expected 3 fields, found 2: v\tc")]);
    }

    #[test]
    fn a_header_without_the_columns_is_refused() {
        let refused = |csv: &[u8], columns: &str| {
            CsvRows::new(csv, b',', "UTF-8", &Columns::parse(columns).unwrap()).err().unwrap()
        };
        let texts =
            |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for (csv, columns, names, sample) in [
            (&b"title,url\nt,u\n"[..], "", &["title", "url"][..], &["t", "u"][..]),
            (b"a,b", "text=1,url=3", &["a", "b"], &["a", "b"]),
            (b"", "", &[], &[]),
        ] {
            let expected = Mismatch { names: texts(names), sample: texts(sample) };
            assert_eq!(refused(csv, columns), expected);
        }
    }
}
