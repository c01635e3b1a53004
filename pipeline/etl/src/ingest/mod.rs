//! The ingest stage. In: sources, files of captions and addresses. Out: their rows in pairs, one commit a chunk; rows the corpus has
//! already add nothing. `source.rs` opens a file, which `unpack.rs` unpacks and `first_rows.rs` judges, `csv_rows.rs`, `json_rows.rs` and `parquet_rows.rs` read it, `pair_rows.rs` makes
//! pairs of its rows. Never changes a caption, and never drops a line.

use std::collections::HashMap;
use std::path::Path;
use std::slice::Iter;
use std::sync::Arc;

use anyhow::{Context, Result};
use datafusion::datasource::MemTable;
use memmap2::Mmap;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::id::Id;
use tuwen_corpus::query::frame;
use tuwen_corpus::report::{Progress, StageReport};
use tuwen_corpus::{Corpus, NewFiles, Rows, Run, Snapshot};

use crate::driver::{self, Chunk, Stage};
use crate::ingest::pair_rows::PairRows;
use crate::ingest::source::{Source, SourceRows};
use crate::named_split::split_named_udf;

mod clean_url;
mod columns;
mod csv_rows;
mod encoding;
mod first_rows;
mod json_rows;
mod pair_rows;
mod parquet_rows;
mod row;
mod source;
mod unpack;

pub use source::Sources;

/// Rows of a source handled between two commits.
const CHUNK_ROWS: u64 = 200_000;

/// Bytes of their texts after which a chunk is full. With one row more it must fit into Arrow arrays, which end at 2 GiB.
const CHUNK_BYTES: usize = 256 << 20;

/// Adds the rows of `sources` to `pairs`.
///
/// # Errors
/// A source is damaged, or cannot be read any more; the corpus cannot be read or written.
pub async fn ingest(
    corpus: &Corpus,
    sources: &Sources,
    stop: &CancellationToken,
) -> Result<StageReport> {
    let stage =
        Ingest { sources, coming: sources.all.iter(), reading: None, begun: false, stopped: false };
    driver::run(corpus, Ok(stage), stop).await
}

struct Ingest<'a> {
    sources: &'a Sources,
    coming: Iter<'a, Source>,
    reading: Option<Reading<'a>>,
    begun: bool,
    stopped: bool,
}

/// The source that is being read.
struct Reading<'a> {
    path: &'a Path,
    rows: SourceRows<Mmap>,
    name: String,
    /// How often each content stood in it so far.
    seen: HashMap<Id, u32>,
}

impl Stage for Ingest<'_> {
    const NAME: &'static str = "ingest";
    const TABLE: &'static str = "pairs";
    const SOURCES: &'static [&'static str] = &[];

    fn settings(&self) -> Value {
        let files = self.sources.all.iter().map(|source| source.path.display().to_string());
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
            ctx.register_udf(split_named_udf());
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
    /// The next rows of the source at hand, or of the one after it; none after the last.
    fn read_chunk(&mut self) -> Result<Option<PairRows>> {
        loop {
            let Some(reading) = &mut self.reading else {
                let Some(source) = self.coming.next() else { return Ok(None) };
                self.reading = Some(Reading::new(source)?);
                continue;
            };
            let chunk = reading.chunk().with_context(|| reading.path.display().to_string())?;
            if chunk.n_rows > 0 {
                return Ok(Some(chunk));
            }
            self.reading = None;
        }
    }
}

impl<'a> Reading<'a> {
    fn new(source: &'a Source) -> Result<Self> {
        let path = source.path.as_path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rows = source.rows().with_context(|| path.display().to_string())?;
        Ok(Self { path, rows, name, seen: HashMap::new() })
    }

    fn chunk(&mut self) -> Result<PairRows> {
        let mut chunk = PairRows::default();
        while chunk.n_rows < CHUNK_ROWS && chunk.n_bytes < CHUNK_BYTES {
            let Some(row) = self.rows.next() else { break };
            chunk.push(row?, &self.name, &mut self.seen);
        }
        Ok(chunk)
    }
}
