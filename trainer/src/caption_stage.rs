//! The caption stage, as far as it is the corpus's. In: a query that says which images, and who captions them. Out: their
//! pixels batch by batch, and the captions that come back, committed to `captions` chunk by chunk by the driver of all stages.
//! Never knows a model, and never asks twice for a caption that the same model has written with the same settings.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{
    ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use chrono::Utc;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use serde::Serialize;
use serde_json::Value;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::query::frame;
use tuwen_corpus::report::{Progress, StageReport};
use tuwen_corpus::{Corpus, NewFiles, Run, Snapshot};
use tuwen_etl::driver::{self, Chunk, Stage};
use tuwen_etl::sql;
use tuwen_schemas::schema;
use tuwen_settings::Settings;
use tuwen_stream::ImagePixels;

use crate::work_list::{LeftOut, UNREADABLE, WorkList, chunk, id_column};

const CAPTIONS_ASKED: &str = include_str!("../../sql/captions_asked.sql");

/// Which model, with which settings; each field is a column of `captions` and of `scores`.
#[derive(Clone, Debug, Serialize)]
pub struct ByModel {
    /// The folder the model was read from.
    pub model: String,
    /// What tells this model from any other.
    pub model_id: String,
    /// How it writes or scores, JSON.
    pub settings: String,
}

/// Images to be captioned.
#[derive(Debug, Default)]
pub struct ImageBatch {
    /// `[b]`.
    pub image_ids: Vec<String>,
    /// Side of the images in pixels.
    pub size_px: usize,
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

/// Makes the captions of a batch, one an image in its order.
pub type Write<'a> = &'a mut dyn FnMut(&ImageBatch) -> Result<Vec<Caption>>;

/// What a run is asked for; recorded in `runs`.
#[derive(Clone, Debug, Serialize)]
pub struct CaptionRequest {
    /// SQL that gives a column `image_id` over the tables and views of `tuwen sql`.
    pub query: String,
    /// Who captions them: what this author has captioned is left out.
    #[serde(flatten)]
    pub author: ByModel,
}

/// How much is done at once.
#[derive(Clone, Copy, Debug)]
pub struct Portions {
    /// Images or examples of a batch.
    pub batch: usize,
    /// Captions or scores of a commit.
    pub chunk: usize,
}

/// Captions what `request` says with `write`, which may block, and commits chunk by chunk. Ends after the batch under way once `stop` is
/// cancelled; what is captioned by then is committed.
///
/// # Errors
/// A query that is wrong, not read-only, or without a column `image_id`; `write` fails; the corpus cannot be read or written.
pub async fn caption_images(
    corpus: &Corpus,
    request: CaptionRequest,
    settings: &Settings,
    portions: Portions,
    write: Write<'_>,
    stop: &CancellationToken,
) -> Result<StageReport> {
    let stage = CaptionStage {
        corpus: corpus.clone(),
        request,
        settings,
        portions,
        write,
        stop: stop.clone(),
        pixels: None,
        work: WorkList::default(),
    };
    driver::run(corpus, Ok(stage), stop).await
}

struct CaptionStage<'a> {
    corpus: Corpus,
    request: CaptionRequest,
    settings: &'a Settings,
    portions: Portions,
    write: Write<'a>,
    stop: CancellationToken,
    pixels: Option<ImagePixels>,
    work: WorkList,
}

impl Stage for CaptionStage<'_> {
    const NAME: &'static str = "caption";
    const TABLE: &'static str = "captions";
    // A query may read anything.
    const SOURCES: &'static [&'static str] = &[];

    fn settings(&self) -> Value {
        serde_json::json!(self.request)
    }

    async fn todo(
        &mut self,
        _run: &Run,
        snapshot: &Snapshot,
        _new: Option<&NewFiles>,
        report: &mut StageReport,
    ) -> Result<Option<u64>> {
        let ctx = sql::session(snapshot, self.settings).await?;
        let (mut ids, left_out) = wanted(&ctx, &self.request).await?;
        ids.retain(|id| self.work.is_good(id));
        // Later than the session, so that it has every image the session saw.
        let (location, verify) = (self.corpus.root().as_str(), self.settings.train.verify);
        let (pixels, rows) = ImagePixels::find(location, &ids, verify).await?;
        self.pixels = Some(pixels);
        Ok(self.work.begin(rows, ids, left_out, report))
    }

    async fn next_chunk(
        &mut self,
        _snapshot: &Snapshot,
        progress: &Progress,
        report: &mut StageReport,
    ) -> Result<Option<Chunk>> {
        let Some(pixels) = &self.pixels else { return Ok(None) };
        let mut rows = CaptionRows::default();
        while rows.len() < self.portions.chunk && !self.stop.is_cancelled() {
            let taken = self.work.take(self.portions.batch.min(self.portions.chunk - rows.len()));
            if taken.is_empty() {
                break;
            }
            progress.add(taken.len() as u64);
            let (batch, unreadable) = block_in_place(|| read(pixels, taken))?;
            self.work.reject("image", UNREADABLE, unreadable, report);
            if !batch.image_ids.is_empty() {
                let captions = block_in_place(|| (self.write)(&batch))?;
                rows.extend(batch.image_ids, captions);
            }
        }
        if rows.len() == 0 {
            return Ok(None);
        }
        let batch = rows.finish(&self.request.author, pixels.version())?;
        chunk(batch).map(Some)
    }

    fn overtaken(&mut self) {
        self.work.overtaken();
    }

    fn stop(&mut self) {
        self.work.stop();
    }

    async fn judge(&mut self, _snapshot: &Snapshot) -> Result<()> {
        self.work.judge("images", self.settings.max_rejected_percent)
    }
}

/// The pixels of images, by their rows and ids; and the ids of those that cannot be read, with why.
fn read(
    pixels: &ImagePixels,
    taken: Vec<(u32, String)>,
) -> Result<(ImageBatch, Vec<(String, String)>)> {
    let size_px = pixels.size_px();
    let pixel_bytes = size_px * size_px * 3;
    let (rows, image_ids): (Vec<u32>, Vec<String>) = taken.into_iter().unzip();
    let mut batch = ImageBatch { image_ids, size_px, pixels: Vec::new() };
    let mut bad = pixels.read(&rows, &mut batch.pixels)?;
    bad.sort_unstable_by(|a, b| b.cmp(a)); // from the last, so that places stay true
    let mut unreadable = Vec::with_capacity(bad.len());
    for (place, why) in bad {
        let (place, start) = (place as usize, place as usize * pixel_bytes);
        unreadable.push((batch.image_ids.remove(place), why));
        batch.pixels.drain(start..start + pixel_bytes);
    }
    Ok((batch, unreadable))
}

/// Images to be captioned, and what of a query of images is left out.
async fn wanted(ctx: &SessionContext, request: &CaptionRequest) -> Result<(Vec<String>, LeftOut)> {
    let ids = sql::read_only(ctx, &request.query).await.context("the query of images")?;
    let ids = id_column(ids, "image_id", "images")?;
    let schema = Arc::new(ids.schema().as_arrow().clone());
    let ids = MemTable::try_new(schema, ids.collect_partitioned().await?)?;
    ctx.register_table("asked_images", Arc::new(ids))?;
    let params = [
        ("model_id", request.author.model_id.as_str().into()),
        ("settings", request.author.settings.as_str().into()),
    ];
    let (mut wanted, mut left_out) = (Vec::new(), LeftOut::default());
    for batch in frame(ctx, "captions_asked", CAPTIONS_ASKED, params).await?.collect().await? {
        let (ids, reasons) =
            (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        let counts = batch.column(2).as_primitive::<Int64Type>().values();
        for ((id, reason), &n) in ids.iter().zip(reasons).zip(counts) {
            match (id, reason) {
                (Some(id), None) => wanted.push(id.to_owned()),
                (_, Some("known")) => left_out.n_known += n as u64,
                (_, reason) => {
                    let reason = reason.unwrap_or("no_image_id").to_owned();
                    *left_out.rejected.entry(reason).or_default() += n as u64;
                }
            }
        }
    }
    Ok((wanted, left_out))
}

/// Rows of `captions` that are not committed yet.
#[derive(Default)]
struct CaptionRows {
    image_ids: Vec<String>,
    captions: Vec<String>,
    scores: Vec<f32>,
    times_us: Vec<i64>,
}

impl CaptionRows {
    fn len(&self) -> usize {
        self.image_ids.len()
    }

    fn extend(&mut self, image_ids: Vec<String>, captions: Vec<Caption>) {
        assert_eq!(image_ids.len(), captions.len(), "a caption an image");
        self.times_us.resize(self.len() + captions.len(), Utc::now().timestamp_micros());
        self.image_ids.extend(image_ids);
        for Caption { text, score } in captions {
            self.captions.push(text);
            self.scores.push(score);
        }
    }

    fn finish(self, author: &ByModel, images_version: u64) -> Result<RecordBatch> {
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
