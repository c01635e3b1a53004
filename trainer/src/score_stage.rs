//! The score stage, as far as it is the corpus's. In: a selection of examples, and who scores them. Out: their tokens and pixels
//! batch by batch, and the losses that come back, committed to `scores` chunk by chunk by the driver of all stages. Never knows
//! a model, and never asks twice for a score that the same model has given with the same settings.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use serde::Serialize;
use serde_json::Value;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;
use tuwen_corpus::query::frame;
use tuwen_corpus::report::{Progress, StageReport};
use tuwen_corpus::{Corpus, NewFiles, Run, Snapshot, seeking_session};
use tuwen_etl::driver::{self, Chunk, Stage};
use tuwen_etl::sql;
use tuwen_settings::Settings;
use tuwen_stream::{ImagePixels, asked_examples};

use crate::caption_stage::{ByModel, Portions};
use crate::score_rows::{Example, Losses, ScoreBatch, ScoreRows, Versions, read};
use crate::work_list::{LeftOut, NOT_FINITE, UNREADABLE, WorkList, chunk, id_column};

const SCORES_ASKED: &str = include_str!("../../sql/scores_asked.sql");

const EXAMPLES_TO_SCORE: &str = include_str!("../../sql/examples_to_score.sql");

/// Scores the captions of a batch, in its order; a loss that is no number is a rejected row.
pub type Measure<'a> = &'a mut dyn FnMut(&ScoreBatch) -> Result<Vec<Losses>>;

/// Which examples are to be scored.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Wanted {
    /// Those of a split for which a predicate is true, over the columns that `train.predicate` has.
    Split {
        /// The split.
        split: String,
        /// The predicate; none: all of the split.
        predicate: Option<String>,
    },
    /// Those whose `example_id` the rows of a query have, over the tables and views of `tuwen sql`.
    Query {
        /// The query.
        query: String,
    },
}

/// What a run is asked for; recorded in `runs`.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreRequest {
    /// Which examples.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// Who scores them: what this author has scored is left out.
    #[serde(flatten)]
    pub author: ByModel,
}

/// Scores what `request` says with `measure`, which may block, and commits chunk by chunk. Ends after the batch under way once
/// `stop` is cancelled; what is scored by then is committed. Memory: some 100 bytes an example, and the tokens of a chunk.
///
/// # Errors
/// A predicate or query that is wrong, a query that is not read-only or without a column `example_id`; `measure` fails, or gives no
/// number for a whole chunk at the start; the corpus cannot be read or written.
pub async fn score_examples(
    corpus: &Corpus,
    request: ScoreRequest,
    settings: &Settings,
    portions: Portions,
    measure: Measure<'_>,
    stop: &CancellationToken,
) -> Result<StageReport> {
    let stage = ScoreStage {
        corpus: corpus.clone(),
        request,
        settings,
        portions,
        measure,
        stop: stop.clone(),
        opened: None,
        work: WorkList::default(),
        has_scored: false,
    };
    driver::run(corpus, Ok(stage), stop).await
}

struct ScoreStage<'a> {
    corpus: Corpus,
    request: ScoreRequest,
    settings: &'a Settings,
    portions: Portions,
    measure: Measure<'a>,
    stop: CancellationToken,
    opened: Option<Opened>,
    work: WorkList,
    /// Whether a loss was a number.
    has_scored: bool,
}

/// What the examples that are to do are read from.
struct Opened {
    pixels: ImagePixels,
    /// Has the table `examples` at `examples_version`.
    ctx: SessionContext,
    examples_version: i64,
}

impl Stage for ScoreStage<'_> {
    const NAME: &'static str = "score";
    const TABLE: &'static str = "scores";
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
        let (mut examples, left_out) = sorted_out(&ctx, &self.request).await?;
        examples.retain(|(id, _)| self.work.is_good(id));
        let (ids, images): (Vec<String>, Vec<String>) = examples.into_iter().unzip();
        // Later than the session, so that it has every image the session saw.
        let (location, verify) = (self.corpus.root().as_str(), self.settings.train.verify);
        let (pixels, rows) = ImagePixels::find(location, &images, verify).await?;
        let ctx = seeking_session()?;
        snapshot.register(&ctx).await?;
        let examples_version = snapshot.version("examples").unwrap_or(-1);
        self.opened = Some(Opened { pixels, ctx, examples_version });
        Ok(self.work.begin(rows, ids, left_out, report))
    }

    async fn next_chunk(
        &mut self,
        _snapshot: &Snapshot,
        progress: &Progress,
        report: &mut StageReport,
    ) -> Result<Option<Chunk>> {
        let Some(opened) = &self.opened else { return Ok(None) };
        let mut rows = ScoreRows::default();
        // Of a chunk whose images cannot be read nothing is committed, and the next is begun.
        while rows.len() == 0 && !self.work.is_empty() {
            let ids = self.work.take(self.portions.chunk);
            let mut examples = Box::pin(opened.examples(ids)).await?.into_iter();
            let mut n_not_finite = 0;
            while examples.len() > 0 && !self.stop.is_cancelled() {
                let taken: Vec<Example> = examples.by_ref().take(self.portions.batch).collect();
                progress.add(taken.len() as u64);
                let (taken, unreadable, batch) = block_in_place(|| read(&opened.pixels, taken))?;
                self.work.reject("example", UNREADABLE, unreadable, report);
                if !taken.is_empty() {
                    let losses = block_in_place(|| (self.measure)(&batch))?;
                    let not_finite = rows.extend(taken, losses);
                    n_not_finite += not_finite.len();
                    self.work.reject("example", NOT_FINITE, not_finite, report);
                }
            }
            if self.stop.is_cancelled() {
                break;
            }
            self.has_scored |= rows.len() > 0;
            // Of a run that is at its end, its gate says so.
            if !self.has_scored && n_not_finite > 0 && !self.work.is_empty() {
                bail!(
                    "expected losses that are numbers, found none of {n_not_finite} examples: the model is broken\n\
                     hint: some models need --set train.precision=f32"
                );
            }
        }
        if rows.len() == 0 {
            return Ok(None);
        }
        let images = opened.pixels.version() as i64;
        let versions = Versions { examples: opened.examples_version, images };
        let batch = rows.finish(&self.request.author, versions)?;
        chunk(batch).map(Some)
    }

    fn overtaken(&mut self) {
        self.work.overtaken();
    }

    fn stop(&mut self) {
        self.work.stop();
    }

    async fn judge(&mut self, _snapshot: &Snapshot) -> Result<()> {
        self.work.judge("examples", self.settings.max_rejected_percent)
    }
}

impl Opened {
    /// The examples of a chunk, those of an image side by side, and images with captions of like length near each other, so that
    /// little of a batch is padding.
    async fn examples(&self, chunk: Vec<(u32, String)>) -> Result<Vec<Example>> {
        let ids = StringArray::from_iter_values(chunk.iter().map(|(_, id)| id));
        let fields = vec![Field::new("example_id", DataType::Utf8, false)];
        let ids = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(ids)])?;
        let ids = MemTable::try_new(ids.schema(), vec![vec![ids]])?;
        self.ctx.register_table("chunk_examples", Arc::new(ids))?;
        let asked = frame(&self.ctx, "examples_to_score", EXAMPLES_TO_SCORE, []).await?;
        let batches = asked.collect().await?;
        self.ctx.deregister_table("chunk_examples")?;

        let rows: HashMap<&str, u32> = chunk.iter().map(|(row, id)| (id.as_str(), *row)).collect();
        let mut examples = Vec::with_capacity(chunk.len());
        for batch in &batches {
            let [ids, image_ids, texts] = [0, 1, 2].map(|i| batch.column(i).as_string::<i32>());
            let tokens = batch.column(3).as_list::<i32>();
            for i in 0..batch.num_rows() {
                let tokens = tokens.value(i);
                let tokens = tokens.as_primitive::<Int32Type>().values();
                examples.push(Example {
                    row: rows[ids.value(i)],
                    example_id: ids.value(i).to_owned(),
                    image_id: image_ids.value(i).to_owned(),
                    text: texts.value(i).to_owned(),
                    input_ids: tokens.iter().map(|&id| i64::from(id)).collect(),
                });
            }
        }
        assert_eq!(examples.len(), chunk.len(), "an example has one row at one version");
        let mut longest: HashMap<u32, usize> = HashMap::new();
        for example in &examples {
            let longest = longest.entry(example.row).or_default();
            *longest = example.input_ids.len().max(*longest);
        }
        examples.sort_unstable_by(|a, b| {
            let place = |example: &Example| (longest[&example.row], example.row);
            place(a).cmp(&place(b)).then_with(|| a.example_id.cmp(&b.example_id))
        });
        Ok(examples)
    }
}

/// Examples to be scored with their images, and what of a selection is left out.
async fn sorted_out(
    ctx: &SessionContext,
    request: &ScoreRequest,
) -> Result<(Vec<(String, String)>, LeftOut)> {
    let ids = match &request.wanted {
        Wanted::Split { split, predicate } => {
            let asked = asked_examples(ctx, split, predicate.as_deref()).await?;
            asked.select_columns(&["example_id"])?
        }
        Wanted::Query { query } => {
            let asked = sql::read_only(ctx, query).await.context("the query of examples")?;
            id_column(asked, "example_id", "examples")?
        }
    };
    ctx.register_table("asked_examples", ids.into_view())?;
    let params = [
        ("model_id", request.author.model_id.as_str().into()),
        ("settings", request.author.settings.as_str().into()),
    ];
    let (mut examples, mut left_out) = (Vec::new(), LeftOut::default());
    for batch in frame(ctx, "scores_asked", SCORES_ASKED, params).await?.collect().await? {
        let [ids, images, reasons] = [0, 1, 2].map(|i| batch.column(i).as_string::<i32>());
        let counts = batch.column(3).as_primitive::<Int64Type>().values();
        for (((id, image), reason), &n) in ids.iter().zip(images).zip(reasons).zip(counts) {
            match (id, image, reason) {
                (Some(id), Some(image), None) => examples.push((id.to_owned(), image.to_owned())),
                (.., Some("known")) => left_out.n_known += n as u64,
                (.., reason) => {
                    let reason = reason.expect("one with an image and no reason is to do");
                    *left_out.rejected.entry(reason.to_owned()).or_default() += n as u64;
                }
            }
        }
    }
    Ok((examples, left_out))
}
