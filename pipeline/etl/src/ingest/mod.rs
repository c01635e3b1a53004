//! The ingest stage. In: CSV files. Out: their rows in pairs, one commit a chunk; rows the corpus has already add nothing.
//! Never changes a caption, and never drops a line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Int64Builder, RecordBatch, StringBuilder};
use datafusion::datasource::MemTable;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::id::{Id, hex, id_of};
use tuwen_corpus::query::frame;
use tuwen_corpus::report::{Progress, StageReport};
use tuwen_corpus::{Corpus, NewFiles, Rows, Run, Snapshot};
use tuwen_schemas::schema;

use crate::driver::{self, Chunk, Stage};

mod csv_rows;

pub use csv_rows::{COLUMNS, CsvRows, Fields, Row};

/// Rows of a CSV handled between two commits.
const CHUNK_ROWS: usize = 200_000;

/// A CSV file mapped into memory.
struct CsvFile {
    path: PathBuf,
    bytes: memmap2::Mmap,
}

/// Adds the rows of `paths` to `pairs`.
///
/// # Errors
/// A file cannot be read or has not the columns; all files are checked before the first row is written.
pub async fn ingest(
    corpus: &Corpus,
    paths: &[PathBuf],
    stop: &CancellationToken,
) -> Result<StageReport> {
    let files = open(paths);
    let stage = files.as_ref().map(|files| Ingest {
        paths,
        files: files.iter(),
        reading: None,
        begun: false,
        stopped: false,
    });
    driver::run(corpus, stage.map_err(|error| anyhow!("{error:#}")), stop).await
}

struct Ingest<'a> {
    paths: &'a [PathBuf],
    files: std::slice::Iter<'a, CsvFile>,
    reading: Option<Reading<'a>>,
    begun: bool,
    stopped: bool,
}

/// The file that is being read.
struct Reading<'a> {
    rows: CsvRows<'a>,
    name: String,
    /// How often each content stood in it so far.
    seen: HashMap<Id, u32>,
}

impl Stage for Ingest<'_> {
    const NAME: &'static str = "ingest";
    const TABLE: &'static str = "pairs";
    const SOURCES: &'static [&'static str] = &[];

    fn settings(&self) -> Value {
        let files = self.paths.iter().map(|path| path.display().to_string());
        serde_json::json!({ "files": files.collect::<Vec<_>>() })
    }

    /// The rows are in the files, and each chunk is compared with the snapshot of its time: one pass does it all.
    async fn todo(
        &mut self,
        _run: &Run,
        _snapshot: &Snapshot,
        _new: Option<&NewFiles>,
        _report: &mut StageReport,
    ) -> Result<Option<u64>> {
        Ok((!std::mem::replace(&mut self.begun, true)).then_some(0))
    }

    async fn next_chunk(
        &mut self,
        snapshot: &Snapshot,
        progress: &Progress,
        report: &mut StageReport,
    ) -> Result<Option<Chunk>> {
        while !self.stopped {
            let Some(chunk) = self.read_chunk()? else { break };
            let n_rows = chunk.n_rows;
            let ctx = snapshot.session(Rows::Light).await?;
            let batch = chunk.finish()?;
            ctx.register_table(
                "incoming",
                Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?),
            )?;
            let new = frame(&ctx, "pairs", include_str!("../../../../sql/pairs.sql"), []).await?;
            let new = new.cache().await?;
            let n_new = new.clone().count().await? as u64;
            report.rows_in += n_rows;
            report.known += n_rows - n_new;
            progress.add(n_rows);
            if n_new > 0 {
                return Ok(Some(Chunk::Rows(new)));
            }
        }
        Ok(None)
    }

    /// What another run has added meanwhile is no reason to stop: the next chunk is compared with it.
    fn overtaken(&mut self) {}

    fn stop(&mut self) {
        self.stopped = true;
    }
}

impl<'a> Ingest<'a> {
    /// The next rows of the file at hand, or of the one after it; none after the last.
    fn read_chunk(&mut self) -> Result<Option<PairRows>> {
        loop {
            if self.reading.is_none() {
                let Some(file) = self.files.next() else { return Ok(None) };
                self.reading = Some(Reading::new(file)?);
            }
            let Some(reading) = &mut self.reading else { continue };
            let mut chunk = PairRows::default();
            for row in reading.rows.by_ref().take(CHUNK_ROWS) {
                chunk.push(row, &reading.name, &mut reading.seen);
            }
            if chunk.n_rows > 0 {
                return Ok(Some(chunk));
            }
            self.reading = None;
        }
    }
}

impl<'a> Reading<'a> {
    fn new(file: &'a CsvFile) -> Result<Self> {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { rows: CsvRows::new(&file.path, &file.bytes)?, name, seen: HashMap::new() })
    }
}

/// Checks that every file can be read and has the columns.
///
/// # Errors
/// One that cannot or has not.
pub fn check(files: &[PathBuf]) -> Result<()> {
    open(files).map(|_sources| ())
}

fn open(files: &[PathBuf]) -> Result<Vec<CsvFile>> {
    files
        .iter()
        .map(|path| {
            let source = CsvFile { path: path.clone(), bytes: map(path)? };
            CsvRows::new(path, &source.bytes)?;
            Ok(source)
        })
        .collect()
}

#[expect(unsafe_code, reason = "mapping a file is unsafe by its signature")]
fn map(path: &Path) -> Result<memmap2::Mmap> {
    let expected = || {
        format!("{}: expected a CSV file with the columns {}", path.display(), COLUMNS.join(","))
    };
    let file = std::fs::File::open(path).with_context(expected)?;
    if !file.metadata().with_context(expected)?.is_file() {
        // It is read more than once, and its rows are counted by their places in it.
        bail!("{}, found a folder, a pipe or a device", expected());
    }
    // SAFETY: the map is read-only; a CSV that another process truncates meanwhile is outside the contract of this command.
    unsafe { memmap2::Mmap::map(&file) }.with_context(expected)
}

/// Rows of `pairs` being built.
#[derive(Default)]
struct PairRows {
    n_rows: u64,
    texts: [StringBuilder; 7],
    lines: Int64Builder,
}

impl PairRows {
    /// `seen` counts how often each content stood in this CSV before.
    fn push(&mut self, row: Row, source: &str, seen: &mut HashMap<Id, u32>) {
        let (fields, malformed) = match row.fields {
            Ok(fields) => (Some(fields), None),
            Err(wrong) => (None, Some(wrong)),
        };
        let text = fields.as_ref().map(|f| f.text.as_str());
        let url = fields.as_ref().and_then(|f| f.url.as_deref());
        let filename = fields.as_ref().and_then(|f| f.filename.as_deref());
        // 0x1f, the unit separator, keeps ("a", "b") and ("ab", "") apart.
        let content =
            [text, url, filename, malformed.as_deref()].map(Option::unwrap_or_default).join("\x1f");
        let nth = seen.entry(id_of(content.as_bytes())).or_default();
        let pair_id = hex(id_of(format!("{content}\x1f{nth}").as_bytes()));
        *nth += 1;
        // The seed's rule: "train" if the path contains it, else "test".
        let split = if filename.or(url).is_some_and(|name| name.contains("train")) {
            "train"
        } else {
            "test"
        };
        let values = [
            Some(pair_id.as_str()),
            text,
            url,
            filename,
            Some(split),
            Some(source),
            malformed.as_deref(),
        ];
        for (builder, value) in self.texts.iter_mut().zip(values) {
            builder.append_option(value);
        }
        self.lines.append_value(row.line as i64);
        self.n_rows += 1;
    }

    fn finish(self) -> Result<RecordBatch> {
        let [pair_id, text, url, filename, split, source, malformed] =
            self.texts.map(|mut builder| Arc::new(builder.finish()) as arrow::array::ArrayRef);
        let mut lines = self.lines;
        let columns = vec![
            pair_id,
            text,
            url,
            filename,
            split,
            source,
            Arc::new(lines.finish()) as _,
            malformed,
        ];
        Ok(RecordBatch::try_new(schema("pairs"), columns)?)
    }
}
