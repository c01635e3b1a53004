//! A crawl as a corpus. In: the crawl. Out: the tables pairs, originals and images in tuwen's own files, in as many commits as the
//! stages would have made. The three tables are written at once, each chunk by chunk, so memory does not grow with the crawl.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::datasource::MemTable;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tuwen_corpus::id::{hex, id_of};
use tuwen_corpus::{Author, Change, Committed, Corpus, Rows, Snapshot, bare_session};
use tuwen_schemas::schema;

use crate::crawl::{Attempt, Crawl, Image, Pair};
use crate::looks::Look;

/// Pairs in a commit: some tenths of a gigabyte.
const PAIRS_A_COMMIT: u64 = 200_000;

/// Attempts in a commit: what `fetch.chunk_bytes` is to pictures of 58 kB.
const ATTEMPTS_A_COMMIT: u64 = 2_300;

/// Images in a commit: `decode.chunk_images`.
const IMAGES_A_COMMIT: u64 = 8_192;

/// Commits of a table at most: a crawl of more rows has larger ones, or its log would take longer than its rows.
const MOST_COMMITS: u64 = 600;

/// Side of the stored square, in pixels; as many as a thumbnail has.
const SIZE_PX: i32 = 8;

/// Between two lines that say how far a table is.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// A table being written.
struct Writing<'a> {
    runtime: &'a Runtime,
    snapshot: Snapshot,
    table: &'static str,
    /// Rows in a commit of a crawl that is not too large.
    rows_a_commit: u64,
    /// Rows it will have, about.
    expected_rows: u64,
}

/// Writes the corpus of `crawl` to `out`; what is there afterwards is whole.
pub(crate) fn make(crawl: &Crawl, out: &Path) -> Result<Value> {
    ensure!(!out.exists(), "{}: expected nothing there yet", out.display());
    let begun = Instant::now();
    let part = out.with_file_name(format!(
        "{}.part",
        out.file_name().context("--out names a folder")?.to_string_lossy()
    ));
    if part.exists() {
        std::fs::remove_dir_all(&part)?;
    }
    let runtime = Runtime::new()?;
    let snapshot = runtime.block_on(async {
        let location = part.to_str().context("the folder's name is not UTF-8")?;
        Corpus::open_or_create(location).await?.snapshot().await
    })?;
    let writing = |table, rows_a_commit| Writing {
        runtime: &runtime,
        snapshot: snapshot.clone(),
        table,
        rows_a_commit,
        expected_rows: crawl.n_rows,
    };
    let (pairs, originals, images) = std::thread::scope(|scope| {
        let pairs = scope.spawn(|| {
            let rows = (0..crawl.n_rows).map(|i| crawl.pair(i));
            writing("pairs", PAIRS_A_COMMIT).write(rows, pair_batch)
        });
        let originals = scope.spawn(|| {
            writing("originals", ATTEMPTS_A_COMMIT).write(crawl.attempts(), attempt_batch)
        });
        let images =
            scope.spawn(|| writing("images", IMAGES_A_COMMIT).write(crawl.images(), image_batch));
        (pairs.join(), originals.join(), images.join())
    });
    let rows = |table: &str, joined: std::thread::Result<Result<u64>>| {
        joined.map_err(|_panic| anyhow!("the thread that writes {table} panicked"))?
    };
    let pairs = rows("pairs", pairs)?;
    let originals = rows("originals", originals)?;
    let images = rows("images", images)?;
    std::fs::rename(&part, out)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(json!({"pairs": pairs, "originals": originals, "images": images, "seconds": seconds}))
}

impl Writing<'_> {
    /// Commits `rows` chunk by chunk, and returns how many there were.
    fn write<R>(
        mut self,
        mut rows: impl Iterator<Item = R>,
        to_batch: impl Fn(&[R]) -> Result<RecordBatch>,
    ) -> Result<u64> {
        let author = Author { stage: "bench", run_id: "growth".to_owned() };
        let chunk_rows = self.rows_a_commit.max(self.expected_rows.div_ceil(MOST_COMMITS));
        let mut n_rows = 0;
        let mut said = Instant::now();
        loop {
            let chunk: Vec<R> = rows.by_ref().take(chunk_rows as usize).collect();
            if chunk.is_empty() {
                return Ok(n_rows);
            }
            let batch = to_batch(&chunk)?;
            drop(chunk);
            n_rows += self.commit(batch, n_rows, &author)?;
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                eprintln!("{}: {n_rows} of about {} rows", self.table, self.expected_rows);
            }
        }
    }

    /// Commits one chunk, whose rows are numbered from `first_number` on.
    fn commit(&mut self, batch: RecordBatch, first_number: u64, author: &Author) -> Result<u64> {
        let (table, snapshot) = (self.table, &mut self.snapshot);
        self.runtime.block_on(async {
            let ctx = bare_session(Rows::Light)?;
            let rows = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
            let frame = ctx.read_table(Arc::new(rows))?;
            let files = Box::pin(snapshot.write_files(table, frame, first_number as i64)).await?;
            let change = Change { adds: files.adds, ..Change::default() };
            let committed = Box::pin(snapshot.commit(table, change, author)).await?;
            ensure!(committed == Committed::Yes, "somebody else writes table `{table}`");
            Ok(files.n_rows)
        })
    }
}

fn pair_batch(rows: &[Pair]) -> Result<RecordBatch> {
    let columns = vec![
        texts(rows, |row| Some(&row.pair_id)),
        texts(rows, |row| row.text.as_deref()),
        texts(rows, |row| row.url.as_deref()),
        texts(rows, |row| row.filename.as_deref()),
        texts(rows, |row| Some(row.split_hint)),
        texts(rows, |row| Some(row.source)),
        longs(rows, |row| Some(row.source_line)),
        texts(rows, |row| row.malformed.as_deref()),
    ];
    Ok(RecordBatch::try_new(schema("pairs"), columns)?)
}

fn attempt_batch(rows: &[Attempt]) -> Result<RecordBatch> {
    let ids: Vec<_> = rows.iter().map(|row| row.bytes.map(|bytes| hex(id_of(&bytes)))).collect();
    let ended = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.fetched_us));
    let next_try: TimestampMicrosecondArray = rows
        .iter()
        .map(|row| (row.outcome == "timeout").then_some(row.fetched_us + 1_000_000))
        .collect();
    let columns = vec![
        longs(rows, |_| Some(0)), // seq: the commit numbers them
        texts(rows, |row| Some(&row.locator)),
        texts(&ids, Option::as_deref),
        bytes(rows, |row| row.bytes.as_ref().map(|bytes| bytes.as_slice())),
        texts(rows, |row| row.bytes.map(|_| "image/jpeg")),
        texts(rows, |row| Some(row.outcome)),
        ints(rows, |row| row.http_status),
        texts(rows, |row| row.detail),
        ints(rows, |row| Some(row.attempt)),
        longs(rows, |row| Some(row.elapsed_ms)),
        longs(rows, |row| row.bytes.map(|bytes| bytes.len() as i64)),
        Arc::new(ended.with_timezone("UTC")),
        Arc::new(next_try.with_timezone("UTC")),
        texts(rows, |_| None), // final_url
        texts(rows, |row| row.bytes.map(|_| "image/jpeg")),
        texts(rows, |_| None), // etag
        texts(rows, |_| None), // last_modified
        texts(rows, |row| row.http_status.map(|_| "192.0.2.1")),
        longs(rows, |row| Some(row.bytes.map_or(0, |bytes| bytes.len() as i64))),
    ];
    Ok(RecordBatch::try_new(schema("originals"), columns)?)
}

/// The stored square of 8 px is the thumbnail.
fn image_batch(rows: &[Image]) -> Result<RecordBatch> {
    let thumb = |row: &'_ Image| row.look.as_ref().map(|look| look.thumb);
    let greys: Vec<_> = rows.iter().map(|row| row.look.as_ref().map(Look::grey)).collect();
    let if_decoded = |row: &Image, text: &'static str| row.look.as_ref().map(|_| text);
    let if_rejected = |row: &Image, text: &'static str| row.look.is_none().then_some(text);
    let columns = vec![
        texts(rows, |row| Some(&row.image_id)),
        ints(rows, |row| Some(row.width)),
        ints(rows, |row| Some(row.height)),
        texts(rows, |_| Some("jpeg")),
        texts(rows, |_| Some("rgb")),
        ints(rows, |_| Some(1)), // orientation
        ints(rows, |_| Some(1)), // frames
        longs(rows, |row| row.look.as_ref().map(|look| look.dhash)),
        bytes(rows, |row| row.look.as_ref().map(|look| look.thumb.as_slice())),
        bytes(&greys, |grey| grey.as_ref().map(|grey| grey.as_slice())), // look
        ints(rows, |_| Some(SIZE_PX)),
        texts(rows, |row| if_decoded(row, "raw")),
        bytes(rows, |row| row.look.as_ref().map(|look| look.thumb.as_slice())), // pixels
        longs(rows, |row| thumb(row).map(|pixels| i64::from(crc32fast::hash(&pixels)))),
        texts(rows, |row| if_rejected(row, "corrupt")),
        texts(rows, |row| if_rejected(row, "Corrupt JPEG data: premature end of data segment")),
        texts(rows, |_| Some("bilinear")),
        texts(rows, |_| Some("exact")),
        Arc::new(BooleanArray::from(vec![false; rows.len()])), // oriented
    ];
    Ok(RecordBatch::try_new(schema("images"), columns)?)
}

fn texts<'a, R>(rows: &'a [R], value: impl Fn(&'a R) -> Option<&'a str>) -> ArrayRef {
    Arc::new(rows.iter().map(value).collect::<StringArray>())
}

fn bytes<'a, R>(rows: &'a [R], value: impl Fn(&'a R) -> Option<&'a [u8]>) -> ArrayRef {
    Arc::new(rows.iter().map(value).collect::<BinaryArray>())
}

fn ints<R>(rows: &[R], value: impl Fn(&R) -> Option<i32>) -> ArrayRef {
    Arc::new(rows.iter().map(value).collect::<Int32Array>())
}

fn longs<R>(rows: &[R], value: impl Fn(&R) -> Option<i64>) -> ArrayRef {
    Arc::new(rows.iter().map(value).collect::<Int64Array>())
}
