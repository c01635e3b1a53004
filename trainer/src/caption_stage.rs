//! The caption stage, as far as it is the corpus's. In: a query that says which images, and who captions them. Out: their
//! pixels batch by batch, and the captions that come back, committed to `captions` chunk by chunk. Never runs a model, and
//! never asks twice for a caption that the same model has written with the same settings.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{
    ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Int64Type};
use chrono::Utc;
use datafusion::datasource::MemTable;
use datafusion::prelude::{DataFrame, Expr, SessionContext, cast};
use serde::Serialize;
use tokio::runtime::Runtime;
use tuwen_corpus::query::frame;
use tuwen_corpus::report::{Progress, StageReport};
use tuwen_corpus::{Corpus, Rows, Run, Snapshot, bare_session};
use tuwen_etl::sql;
use tuwen_schemas::schema;
use tuwen_settings::DecodeSettings;
use tuwen_stream::ImagePixels;

const CAPTIONS_ASKED: &str = include_str!("../../sql/captions_asked.sql");

/// Why an image has no caption whose pixels are damaged, or whose file is.
const UNREADABLE: &str = "unreadable_pixels";

/// Who writes the captions; each field is a column of `captions`.
#[derive(Clone, Debug, Serialize)]
pub struct Author {
    /// The folder the model was read from.
    pub model: String,
    /// What tells this model from any other.
    pub model_id: String,
    /// How it writes, JSON.
    pub settings: String,
}

/// Images to be captioned.
#[derive(Debug, Default)]
pub struct ImageBatch {
    /// `[b]`.
    pub image_ids: Vec<String>,
    /// RGB, row-major, 0 to 255: `[b, size_px, size_px, 3]`.
    pub pixels: Vec<u8>,
}

/// What a model wrote for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Caption {
    /// Without special tokens.
    pub text: String,
    /// Log-probability by length, nats.
    pub score: f32,
}

/// What a run was asked for; recorded in `runs`.
#[derive(Serialize)]
struct Asked {
    query: String,
    #[serde(flatten)]
    author: Author,
}

/// A run of the stage. Blocks; must not be used in an async task.
pub struct CaptionStage {
    runtime: Runtime,
    snapshot: Snapshot,
    run: Run,
    asked: Asked,
    pixels: ImagePixels,
    /// Row in `images` and id of what is to be captioned, in the order of the table.
    todo: Vec<(u32, String)>,
    n_handed_out: usize,
    chunk: Chunk,
    chunk_rows: usize,
    report: StageReport,
    progress: Progress,
}

impl CaptionStage {
    /// Asks `query`, which gives a column `image_id` over the tables and views of `tuwen sql`, and leaves out what `author`
    /// has captioned. Every `chunk_rows` captions are one commit.
    ///
    /// # Errors
    /// No corpus at `location`; a query that is wrong, not read-only, or without a column `image_id`.
    pub fn open(
        location: &str,
        query: &str,
        decode: &DecodeSettings,
        author: Author,
        chunk_rows: usize,
    ) -> Result<Self> {
        let runtime = Runtime::new().context("starting the async runtime")?;
        let asked = Asked { query: query.to_owned(), author };
        let mut report = StageReport::new("caption");
        let (snapshot, run, pixels, todo) = runtime.block_on(Box::pin(async {
            let (_, snapshot) = Corpus::open_snapshot(location).await?;
            let run = Run::start("caption", &snapshot);
            let ctx = sql::session(&snapshot, decode).await?;
            let ids = wanted(&ctx, &asked, &mut report).await?;
            // Later than the session, so that it has every image the session saw.
            let (pixels, rows) = ImagePixels::find(location, &ids).await?;
            let mut todo: Vec<(u32, String)> = rows.into_iter().zip(ids).collect();
            todo.sort_unstable();
            todo.dedup();
            Ok::<_, anyhow::Error>((snapshot, run, pixels, todo))
        }))?;
        report.rows_in = todo.len() as u64 + report.n_rejected();
        let progress = Progress::start("caption", todo.len() as u64);
        let (chunk, chunk_rows) = (Chunk::default(), chunk_rows.max(1));
        Ok(Self {
            runtime,
            snapshot,
            run,
            asked,
            pixels,
            todo,
            n_handed_out: 0,
            chunk,
            chunk_rows,
            report,
            progress,
        })
    }

    /// Side of the images in pixels.
    pub fn size_px(&self) -> usize {
        self.pixels.size_px()
    }

    /// The next `n` images, fewer at the end and where some cannot be read, which are told and counted as rejected; none after
    /// the last.
    ///
    /// # Errors
    /// A store does not answer.
    pub fn next_batch(&mut self, n: usize) -> Result<Option<ImageBatch>> {
        let pixel_bytes = self.size_px() * self.size_px() * 3;
        loop {
            let rest = &self.todo[self.n_handed_out..];
            let taken = &rest[..n.min(rest.len())];
            if taken.is_empty() {
                return Ok(None);
            }
            self.n_handed_out += taken.len();
            let (rows, image_ids): (Vec<u32>, Vec<String>) = taken.iter().cloned().unzip();
            let mut batch = ImageBatch { image_ids, pixels: Vec::new() };
            let mut bad = self.pixels.read(&rows, &mut batch.pixels)?;
            bad.sort_unstable_by(|a, b| b.cmp(a)); // from the last, so that places stay true
            for (place, why) in bad {
                let (place, start) = (place as usize, place as usize * pixel_bytes);
                eprintln!("image {}: {why}", batch.image_ids.remove(place));
                batch.pixels.drain(start..start + pixel_bytes);
                *self.report.rejected.entry(UNREADABLE.to_owned()).or_default() += 1;
                self.progress.add(1);
            }
            if !batch.image_ids.is_empty() {
                return Ok(Some(batch));
            }
        }
    }

    /// Takes the captions of a batch, one an image in its order; commits when a chunk is full.
    ///
    /// # Errors
    /// The corpus cannot be written.
    pub fn add(&mut self, batch: ImageBatch, captions: Vec<Caption>) -> Result<()> {
        assert_eq!(batch.image_ids.len(), captions.len(), "a caption an image");
        let now_us = Utc::now().timestamp_micros();
        self.progress.add(captions.len() as u64);
        for (image_id, caption) in batch.image_ids.into_iter().zip(captions) {
            self.chunk.push(image_id, caption, now_us);
            if self.chunk.image_ids.len() >= self.chunk_rows {
                self.commit()?;
            }
        }
        Ok(())
    }

    /// Commits what is left, and records the run if it wrote anything.
    ///
    /// # Errors
    /// The corpus cannot be written.
    pub fn finish(mut self) -> Result<StageReport> {
        if !self.chunk.image_ids.is_empty() {
            self.commit()?;
        }
        self.progress.finish();
        let settings = serde_json::to_value(&self.asked)?;
        let ended = self.run.finish(&mut self.snapshot, self.report, &settings);
        self.runtime.block_on(Box::pin(ended))
    }

    fn commit(&mut self) -> Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        let batch = chunk.finish(&self.asked.author, self.pixels.version())?;
        let (snapshot, author) = (&mut self.snapshot, self.run.author());
        let appended = self.runtime.block_on(Box::pin(async {
            let ctx = bare_session(Rows::Light)?;
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
            ctx.register_table("chunk", Arc::new(table))?;
            snapshot.append("captions", ctx.table("chunk").await?, author).await
        }))?;
        self.report.commits += u64::from(appended.n_rows > 0);
        self.report.rows_out += appended.n_rows;
        self.report.known += appended.n_lost;
        Ok(())
    }
}

/// The ids that are to be captioned; the others are counted in `report`.
async fn wanted(
    ctx: &SessionContext,
    asked: &Asked,
    report: &mut StageReport,
) -> Result<Vec<String>> {
    let ids = image_ids(sql::read_only(ctx, &asked.query).await.context("the query of images")?)?;
    let schema = Arc::new(ids.schema().as_arrow().clone());
    let ids = MemTable::try_new(schema, ids.collect_partitioned().await?)?;
    ctx.register_table("asked_images", Arc::new(ids))?;
    let params = [
        ("model_id", asked.author.model_id.as_str().into()),
        ("settings", asked.author.settings.as_str().into()),
    ];
    let mut wanted = Vec::new();
    for batch in frame(ctx, "captions_asked", CAPTIONS_ASKED, params).await?.collect().await? {
        let (ids, reasons) =
            (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        let counts = batch.column(2).as_primitive::<Int64Type>().values();
        for ((id, reason), &n) in ids.iter().zip(reasons).zip(counts) {
            match (id, reason) {
                (Some(id), None) => wanted.push(id.to_owned()),
                (_, Some("known")) => report.known += n as u64,
                (_, reason) => {
                    let reason = reason.unwrap_or("no_image_id").to_owned();
                    *report.rejected.entry(reason).or_default() += n as u64;
                }
            }
        }
    }
    Ok(wanted)
}

/// The column `image_id` of a person's query; of several (a join of `select *`) the first.
fn image_ids(frame: DataFrame) -> Result<DataFrame> {
    let columns = frame.schema().columns();
    let Some(column) = columns.iter().find(|column| column.name == "image_id") else {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        bail!(
            "the query of images: expected a column `image_id`, found {}\n\
             hint: select image_id from images where …",
            names.join(", ")
        );
    };
    let id = cast(Expr::Column(column.clone()), DataType::Utf8).alias("image_id");
    Ok(frame.select(vec![id])?)
}

/// Rows of `captions` that are not committed yet.
#[derive(Default)]
struct Chunk {
    image_ids: Vec<String>,
    captions: Vec<String>,
    scores: Vec<f32>,
    times_us: Vec<i64>,
}

impl Chunk {
    fn push(&mut self, image_id: String, caption: Caption, time_us: i64) {
        self.image_ids.push(image_id);
        self.captions.push(caption.text);
        self.scores.push(caption.score);
        self.times_us.push(time_us);
    }

    fn finish(self, author: &Author, images_version: u64) -> Result<RecordBatch> {
        let n = self.image_ids.len();
        let same = |text: &str| Arc::new(StringArray::from(vec![text; n])) as ArrayRef;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(self.image_ids)),
            Arc::new(StringArray::from(self.captions)),
            Arc::new(Float32Array::from(self.scores)),
            same(&author.model),
            same(&author.model_id),
            same(&author.settings),
            Arc::new(Int64Array::from(vec![images_version as i64; n])),
            Arc::new(TimestampMicrosecondArray::from(self.times_us).with_timezone("UTC")),
        ];
        Ok(RecordBatch::try_new(schema("captions"), columns)?)
    }
}
