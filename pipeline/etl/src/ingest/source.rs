//! A source: a file of captions and addresses. In: its path. Out: its rows, whatever its format (CSV, TSV, JSON lines, Parquet),
//! compression (gzip, zstd) and encoding are; a file that cannot be read is refused when it is opened, before any row of any is.
//! Memory is bounded: what is packed or in another encoding is read from a temporary file, one at a time.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};
use encoding_rs::{Encoding, UTF_8};
use memmap2::Mmap;
use tuwen_settings::{IngestSettings, WrongSetting};

use crate::ingest::columns::{Columns, Mismatch, quoted};
use crate::ingest::csv_rows::CsvRows;
use crate::ingest::encoding::{convert, encoding_of, name_of, named};
use crate::ingest::first_rows::check_first_rows;
use crate::ingest::json_rows::{JsonRows, Layout, layout_of};
use crate::ingest::parquet_rows::{ParquetRows, Refused};
use crate::ingest::row::Row;
use crate::ingest::unpack::{temporary, unpacked};

/// Bytes of a file by which its format is told.
const HEAD_BYTES: usize = 64 << 10;

/// Bytes of another encoding in which a header is looked for, and the first rows.
const BEGIN_BYTES: usize = 4 << 20;

/// What divides the fields of a CSV, and of a TSV; a file that is named as one is often the other.
const CSV_DELIMITERS: [u8; 3] = *b",\t;";
const TSV_DELIMITERS: [u8; 3] = *b"\t,;";

/// The sources of a run, all of which can be read.
pub struct Sources {
    pub(super) all: Vec<Source>,
}

/// A file, and how it is read.
pub(super) struct Source {
    pub(super) path: PathBuf,
    format: Format,
    encoding: &'static Encoding,
    columns: Columns,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Divided by this byte.
    Divided(u8),
    JsonLines,
    Parquet,
}

/// The rows of a source, of which `B` is the text.
pub(super) enum SourceRows<B> {
    Csv(Box<CsvRows<B>>),
    Json(JsonRows<B>),
    Parquet(Box<ParquetRows>),
}

impl<B: AsRef<[u8]>> Iterator for SourceRows<B> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        match self {
            Self::Csv(rows) => rows.next().map(Ok),
            Self::Json(rows) => rows.next().map(Ok),
            Self::Parquet(rows) => rows.next(),
        }
    }
}

impl Sources {
    /// Checks that each file of `paths` can be read under `settings`, has the columns, and that of its first rows at most
    /// `max_malformed_percent` are malformed (100: it does not matter).
    ///
    /// # Errors
    /// One that cannot or has not, with what was expected and what would do.
    pub fn open(
        paths: &[PathBuf],
        settings: &IngestSettings,
        max_malformed_percent: f64,
    ) -> Result<Self> {
        let columns = Columns::parse(&settings.columns).map_err(WrongSetting::of)?;
        let told = named(&settings.encoding).map_err(WrongSetting::of)?;
        let open = |path: &PathBuf| {
            Source::open(path, &columns, told, max_malformed_percent)
                .with_context(|| path.display().to_string())
        };
        Ok(Self { all: paths.iter().map(open).collect::<Result<_>>()? })
    }
}

impl Source {
    fn open(
        path: &Path,
        columns: &Columns,
        told: Option<&'static Encoding>,
        max_malformed_percent: f64,
    ) -> Result<Self> {
        let mut source = Self {
            path: path.to_owned(),
            format: Format::Parquet,
            encoding: UTF_8,
            columns: columns.clone(),
        };
        let mut file = source.file()?;
        let mut head = Vec::new();
        Read::by_ref(&mut file).take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        let ending = unpacked_ending(path);
        if head.starts_with(b"PAR1") {
            source.check_parquet(file, max_malformed_percent)?;
            return Ok(source);
        }
        if let Some(kind) = other_kind(&head) {
            bail!("expected CSV, TSV, JSON lines or Parquet, found {kind}");
        }
        if ["parquet", "pq"].contains(&ending.as_str()) {
            bail!("expected a Parquet file, found none: its first bytes are not PAR1");
        }
        let bytes = map(&file)?;
        source.encoding = encoding_of(&bytes, told).map_err(|unclear| anyhow!("{unclear}"))?;
        if told.is_some() {
            warn_of_other(path, &bytes, source.encoding);
        }
        // What is converted is converted again with the rest when the rows are read.
        let begin = match source.encoding == UTF_8 {
            true => None,
            false => Some(begin_of(&bytes, source.encoding)?),
        };
        let text = begin.as_deref().unwrap_or(&bytes);
        source.check_text(text, &ending)?;
        let rows = source.rows_of(text)?;
        if max_malformed_percent < 100.0 {
            check_first_rows(rows, max_malformed_percent, source.encoding, &bytes)?;
        }
        Ok(source)
    }

    fn check_parquet(&self, file: File, max_malformed_percent: f64) -> Result<()> {
        let rows = ParquetRows::new(file, &self.columns);
        let rows = rows.map_err(|refused| self.refusal(refused))?;
        if max_malformed_percent < 100.0 {
            check_first_rows(rows, max_malformed_percent, UTF_8, &[])?;
        }
        Ok(())
    }

    /// Finds out how text is divided, and whether it has the columns.
    fn check_text(&mut self, text: &[u8], ending: &str) -> Result<()> {
        let start = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
        if start.is_empty() {
            bail!(
                "{}, found an empty file\nhint: leave it out, or write it anew",
                self.columns.expected()
            );
        }
        let is_json = ["jsonl", "ndjson", "json"].contains(&ending);
        if is_json || (start.starts_with(b"{") && !["csv", "tsv", "tab"].contains(&ending)) {
            self.format = Format::JsonLines;
            let (found, filter) = match layout_of(start) {
                Layout::Lines => {
                    let rows = JsonRows::new(text, &self.columns);
                    return rows.map(drop).map_err(|found| self.mismatch(&found));
                }
                Layout::List => ("a list", "'.[]'"),
                Layout::ObjectOverLines => ("an object over several lines", "."),
            };
            bail!(
                "expected JSON lines, an object a line, found {found}\nhint: {}",
                to_lines(&self.path, filter)
            );
        }
        let is_tsv = ["tsv", "tab"].contains(&ending)
            || (ending != "csv" && self.columns.numbered().is_some() && has_tab(start));
        let delimiters = if is_tsv { TSV_DELIMITERS } else { CSV_DELIMITERS };
        let mut refused: Option<Mismatch> = None;
        for delimiter in delimiters {
            match CsvRows::new(text, delimiter, name_of(self.encoding), &self.columns) {
                Ok(_) => {
                    self.format = Format::Divided(delimiter);
                    return Ok(());
                }
                // The one that divides the most is the one that was meant.
                Err(found) => {
                    if refused.as_ref().is_none_or(|most| found.names.len() > most.names.len()) {
                        refused = Some(found);
                    }
                }
            }
        }
        let found = refused.unwrap_or(Mismatch { names: Vec::new(), sample: Vec::new() });
        Err(self.mismatch(&found))
    }

    /// The rows, from the first on.
    pub(super) fn rows(&self) -> Result<SourceRows<Mmap>> {
        let file = self.file()?;
        if self.format == Format::Parquet {
            let rows = ParquetRows::new(file, &self.columns);
            let rows = rows.map_err(|refused| self.refusal(refused))?;
            return Ok(SourceRows::Parquet(Box::new(rows)));
        }
        let mut bytes = map(&file)?;
        if self.encoding != UTF_8 {
            let mut text = temporary()?;
            let mut writer = BufWriter::new(&mut text);
            convert(&bytes, self.encoding, &mut writer)
                .and_then(|_| writer.flush())
                .context("writing the same text in UTF-8 to TMPDIR")?;
            drop(writer);
            bytes = map(&text)?;
        }
        self.rows_of(bytes)
    }

    /// The rows of text in UTF-8.
    fn rows_of<B: AsRef<[u8]>>(&self, bytes: B) -> Result<SourceRows<B>> {
        if let Format::Divided(delimiter) = self.format {
            let rows = CsvRows::new(bytes, delimiter, name_of(self.encoding), &self.columns);
            return rows
                .map(|rows| SourceRows::Csv(Box::new(rows)))
                .map_err(|found| self.mismatch(&found));
        }
        let rows = JsonRows::new(bytes, &self.columns);
        rows.map(SourceRows::Json).map_err(|found| self.mismatch(&found))
    }

    /// The file, unpacked.
    fn file(&self) -> Result<File> {
        let expected = "expected a file of CSV, TSV, JSON lines or Parquet";
        // Asked before it is opened: a pipe is not there until somebody writes to it.
        if !std::fs::metadata(&self.path).context(expected)?.is_file() {
            // It is read more than once, and its rows are counted by their places in it.
            bail!("{expected}, found a folder, a pipe or a device");
        }
        unpacked(File::open(&self.path).context(expected)?, &self.path)
    }

    fn mismatch(&self, found: &Mismatch) -> Error {
        anyhow!(self.columns.refusal(found))
    }

    fn refusal(&self, refused: Refused) -> Error {
        match refused {
            Refused::Columns(found) => self.mismatch(&found),
            Refused::File(error) => error,
        }
    }
}

/// A person's word is taken, but that of a text which shows another encoding is likely wrong.
fn warn_of_other(path: &Path, bytes: &[u8], told: &'static Encoding) {
    match encoding_of(bytes, None) {
        Ok(found) if found != told && !bytes.is_ascii() && name_of(found) != name_of(told) => {
            let (path, told, found) = (path.display(), name_of(told), name_of(found));
            tracing::warn!(
                "{path}: read as {told}, as ingest.encoding says; it looks like {found}"
            );
        }
        _ => {}
    }
}

/// The first lines of text in another encoding in UTF-8.
fn begin_of(bytes: &[u8], encoding: &'static Encoding) -> Result<Vec<u8>> {
    let mut begin = Vec::new();
    convert(&bytes[..bytes.len().min(BEGIN_BYTES)], encoding, &mut begin)?;
    if bytes.len() > BEGIN_BYTES {
        let end = begin.iter().rposition(|b| *b == b'\n').map_or(begin.len(), |last| last + 1);
        begin.truncate(end);
    }
    Ok(begin)
}

/// The command that makes JSON lines of the file at `path`.
fn to_lines(path: &Path, filter: &str) -> String {
    let packed = match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => Some("gzip"),
        Some("zst" | "zstd") => Some("zstd"),
        _ => None,
    };
    let unpacked = if packed.is_some() { path.with_extension("") } else { path.to_owned() };
    let lines = match unpacked.extension().and_then(|ending| ending.to_str()) {
        Some("jsonl") => unpacked.with_extension("lines.jsonl"),
        _ => unpacked.with_extension("jsonl"),
    };
    let word = |path: &Path| quoted(&path.display().to_string());
    let (from, lines) = (word(path), word(&lines));
    match packed {
        Some(program) => format!("{program} -dc {from} | jq -c {filter} > {lines}"),
        None => format!("jq -c {filter} {from} > {lines}"),
    }
}

/// What a file is that is no source, with what makes one of it.
fn other_kind(head: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 5] = [
        (b"PK\x03\x04", "a ZIP archive or an Excel workbook\nhint: unzip it, or save it as CSV"),
        (b"\xd0\xcf\x11\xe0", "an Excel workbook\nhint: save it as CSV"),
        (b"BZh", "bzip2\nhint: bunzip2 it"),
        (b"\xfd7zXZ", "xz\nhint: unxz it"),
        (b"ARROW1", "an Arrow file\nhint: save it as Parquet"),
    ];
    kinds.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, kind)| kind)
}

/// The ending of a name in small letters, without that of its compression.
fn unpacked_ending(path: &Path) -> String {
    let ending =
        |path: &Path| path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match ending(path).as_str() {
        "gz" | "zst" | "zstd" => ending(&path.with_extension("")),
        other => other.to_owned(),
    }
}

fn has_tab(text: &[u8]) -> bool {
    text.split(|b| *b == b'\n').next().is_some_and(|line| line.contains(&b'\t'))
}

#[expect(unsafe_code, reason = "mapping a file is unsafe by its signature")]
fn map(file: &File) -> Result<Mmap> {
    // SAFETY: the map is read-only; a file that another process truncates meanwhile is outside the contract of this command.
    unsafe { Mmap::map(file) }.context("mapping it into memory")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn a_parquet_file_of_another_encoding_is_refused_before_any_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gbk.parquet");
        let (texts, _, _) = encoding_rs::GBK.encode("一只红色的猫坐在窗边");
        let texts: ArrayRef = Arc::new(BinaryArray::from_iter_values([&texts, &texts]));
        let urls: ArrayRef = Arc::new(StringArray::from(vec!["http://a/1", "http://a/2"]));
        let batch = RecordBatch::try_from_iter([("text", texts), ("url", urls)]).unwrap();
        let file = File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let open = |percent| {
            Sources::open(std::slice::from_ref(&path), &IngestSettings::default(), percent)
        };
        let refused = open(5.0).err().map(|error| format!("{error:#}")).unwrap();
        assert!(refused.contains("found 2 malformed of the first 2"), "{refused}");
        assert!(open(100.0).is_ok());
    }
}
