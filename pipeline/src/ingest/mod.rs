//! The ingest stage. In: CSV files. Out: their rows in pairs, one commit a chunk; rows the corpus has already add nothing.
//! Never changes a caption, and never drops a line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Int64Builder, RecordBatch, StringBuilder};
use datafusion::datasource::MemTable;
use sha2::{Digest, Sha256};
use tuwen_schemas::schema;

use crate::corpus::{Corpus, Rows};
use crate::query::frame;
use crate::report::{Progress, StageReport};
use crate::runs::Run;

mod csv_rows;

pub use csv_rows::{COLUMNS, CsvRows, Fields, Row};

/// Rows of a CSV handled between two commits.
const CHUNK_ROWS: usize = 200_000;

/// First 128 bits of a SHA-256: a pair's or image's identity.
pub type Id = [u8; 16];

/// The identity of `bytes`.
pub fn id_of(bytes: &[u8]) -> Id {
    let digest = Sha256::digest(bytes);
    let mut id = Id::default();
    id.copy_from_slice(&digest[..16]);
    id
}

/// An identity as the tables hold it: 32 hexadecimal digits.
pub fn hex(id: Id) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

/// A file mapped into memory.
struct Source {
    path: PathBuf,
    bytes: memmap2::Mmap,
}

/// Adds the rows of `files` to `pairs`.
///
/// # Errors
/// A file cannot be read or has not the columns; all files are checked before the first row is written.
pub async fn ingest(corpus: &Corpus, files: &[PathBuf]) -> Result<StageReport> {
    let sources = open(files)?;
    let run = Run::start(corpus).await?;
    let mut report = StageReport::new("ingest");
    let progress = Progress::start("ingest", 0);
    for source in &sources {
        let mut rows = CsvRows::new(&source.path, &source.bytes)?;
        let name = source.path.file_name().unwrap_or_default().to_string_lossy();
        let mut seen = HashMap::new();
        loop {
            let mut chunk = Chunk::default();
            for row in rows.by_ref().take(CHUNK_ROWS) {
                chunk.push(row, &name, &mut seen);
            }
            if chunk.n_rows == 0 {
                break;
            }
            progress.add(chunk.n_rows);
            report.rows_in += chunk.n_rows;
            add_chunk(corpus, chunk.finish()?, &mut report).await?;
        }
    }
    progress.finish();
    run.finish(corpus, report, &serde_json::json!({ "files": files })).await
}

/// Checks that every file can be read and has the columns.
///
/// # Errors
/// One that cannot or has not.
pub fn check(files: &[PathBuf]) -> Result<()> {
    open(files).map(|_sources| ())
}

fn open(files: &[PathBuf]) -> Result<Vec<Source>> {
    files
        .iter()
        .map(|path| {
            let source = Source { path: path.clone(), bytes: map(path)? };
            CsvRows::new(path, &source.bytes)?;
            Ok(source)
        })
        .collect()
}

#[expect(unsafe_code, reason = "mapping a file is unsafe by its signature")]
fn map(path: &Path) -> Result<memmap2::Mmap> {
    let file = std::fs::File::open(path).with_context(|| {
        format!("{}: expected a CSV file with the columns {}", path.display(), COLUMNS.join(","))
    })?;
    // SAFETY: the map is read-only; a CSV that another process truncates meanwhile is outside the contract of this command.
    unsafe { memmap2::Mmap::map(&file) }.with_context(|| path.display().to_string())
}

async fn add_chunk(corpus: &Corpus, batch: RecordBatch, report: &mut StageReport) -> Result<()> {
    let ctx = corpus.session(Rows::Light).await?;
    let n_rows = batch.num_rows() as u64;
    ctx.register_table(
        "incoming",
        Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?),
    )?;
    let new =
        frame(&ctx, "pairs", include_str!("../../../sql/pairs.sql"), []).await?.cache().await?;
    let n_malformed =
        new.clone().filter(datafusion::prelude::col("malformed").is_not_null())?.count().await?
            as u64;
    let n_new = new.clone().count().await? as u64;
    report.known += n_rows - n_new;
    if n_malformed > 0 {
        *report.rejected.entry("malformed_line".to_owned()).or_default() += n_malformed;
    }
    report.rows_out += n_new - n_malformed;
    if n_new > 0 {
        corpus.append("pairs", new).await?;
        report.commits += 1;
    }
    Ok(())
}

/// Rows of `pairs` being built.
#[derive(Default)]
struct Chunk {
    n_rows: u64,
    texts: [StringBuilder; 7],
    lines: Int64Builder,
}

impl Chunk {
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
